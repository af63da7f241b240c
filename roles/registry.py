"""The roles that exist, by name. Built once at start, read-only from then on."""

from collections.abc import Iterable, Iterator

from tickertape.roles.errors import RoleNotFound
from tickertape.roles.models import Role

# The name by which clients ask for no template; no role may take it.
DEFAULT_ROLE = "default"


class Roles:
    """Roles in order of their names."""

    def __init__(self, roles: Iterable[Role]) -> None:
        self._by_name = {role.name: role for role in sorted(roles, key=lambda role: role.name)}

    def __iter__(self) -> Iterator[Role]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return list(self._by_name)

    def get(self, name: str) -> Role:
        """Return the role of this name; raises RoleNotFound, which lists the names that exist."""
        try:
            return self._by_name[name]
        except KeyError:
            raise RoleNotFound(name, self.names) from None

    def choose(self, name: str | None) -> Role | None:
        """Return the role that a request asks for; None, "" and "default" ask for none: None.

        Raises RoleNotFound as `get` does.
        """
        return None if not name or name == DEFAULT_ROLE else self.get(name)
