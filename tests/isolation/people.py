"""The tenants of a run, their users, and the ways in which each of them calls the API."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.isolation.marks import new_mark, prefix_of

TENANTS = ("ada", "bob", "eve", "joe")
# Every tenant has users of the same names, who have conversations of the same names.
USERS = (None, "ann", "sam")
CONVERSATIONS = ("c0", "c1", "c2")
Headers = Mapping[str, str]


def listed_key_of(tenant: str) -> str:
    """The key of a tenant in the settings of the API."""
    return f"the-listed-key-of-{tenant}"


@dataclass(eq=False)
class Person:
    """A tenant, or a user of one. `objects` has what the person made, by kind."""

    tenant: str
    user: str | None
    token: Callable[[], str]
    keys: list[str]
    objects: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Tenant and user."""
        return f"{self.tenant}/{self.user or '-'}"

    @property
    def prefix(self) -> str:
        """How all marks of the person begin."""
        return prefix_of(self.tenant, self.user)

    def new_mark(self) -> str:
        """The mark of the next request."""
        return new_mark(self.tenant, self.user)

    def headers(self, rng: random.Random) -> dict[str, str]:
        """Who calls: by a key of the tenant for its user, or by the token of the user."""
        if self.user is not None and rng.random() < 0.5:
            return {"Authorization": f"Bearer {self.token()}"}
        return self.with_key(rng.choice(self.keys))

    def with_key(self, key: str) -> dict[str, str]:
        """A call with this key of the tenant."""
        on_behalf = {} if self.user is None else {"X-Tickertape-User": self.user}
        return {"Authorization": f"Bearer {key}", **on_behalf}

    def add(self, kind: str, name: str) -> None:
        """Remember an object, and forget the oldest one of many."""
        names = self.objects.setdefault(kind, [])
        names.append(name)
        del names[:-50]
