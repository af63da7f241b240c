"""The roles by name. Built once at the start, then read-only."""

from collections.abc import Iterable, Iterator

from tickertape.roles.errors import RoleNotFound
from tickertape.roles.models import Role

# The name with which clients choose no template. No role may have this name.
DEFAULT_ROLE = "default"


class Roles:
    """A read-only collection of roles, sorted by name."""

    def __init__(self, roles: Iterable[Role]) -> None:
        self._by_name = {role.name: role for role in sorted(roles, key=lambda role: role.name)}

    def __iter__(self) -> Iterator[Role]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def names(self) -> list[str]:
        """All role names, sorted."""
        return list(self._by_name)

    def get(self, name: str) -> Role:
        """Return the role with this name. Raises RoleNotFound, which lists the existing names."""
        try:
            return self._by_name[name]
        except KeyError:
            raise RoleNotFound(name, self.names) from None

    def choose(self, name: str | None) -> Role | None:
        """Return the role that a request names; None for None, "" and "default".

        Raises RoleNotFound as `get` does.
        """
        return None if not name or name == DEFAULT_ROLE else self.get(name)
