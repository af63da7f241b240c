"""Pure: which request is claimed next."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Line:
    """Suspects first, then the tenants in turn, each with its own waiting ids."""

    waiting: dict[str, list[str]] = field(default_factory=dict)
    ring: list[str] = field(default_factory=list)
    suspects: list[str] = field(default_factory=list)

    def put(
        self, id_: str, tenant: str, *, is_suspect: bool, to_head: bool, turn_now: bool
    ) -> None:
        line = self.suspects if is_suspect else self.waiting.setdefault(tenant, [])
        line.insert(0 if to_head else len(line), id_)
        if not is_suspect and tenant not in self.ring:
            self.ring.insert(0 if turn_now else len(self.ring), tenant)

    def take(self, *, suspect_ok: bool, busy: Mapping[str, int] | None = None) -> str | None:
        """`busy` is how many requests of each tenant run: the tenant with the fewest is next."""
        if suspect_ok and self.suspects:
            return self.suspects.pop(0)
        if not self.ring:
            return None
        running = busy or {}
        tenant = min(self.ring, key=lambda each: running.get(each, 0))
        self.ring.remove(tenant)
        id_ = self.waiting[tenant].pop(0)
        if self.waiting[tenant]:
            self.ring.append(tenant)
        else:
            del self.waiting[tenant]
        return id_

    def remove(self, id_: str, tenant: str) -> None:
        """Take an id out wherever it waits, if it does."""
        if id_ in self.suspects:
            self.suspects.remove(id_)
        if id_ in self.waiting.get(tenant, []):
            self.waiting[tenant].remove(id_)
            if not self.waiting[tenant]:
                del self.waiting[tenant]
                self.ring.remove(tenant)

    def claims_before(self, id_: str) -> int | None:
        """By playing it through, which the broker does not. Suspects are out of turn."""
        played = Line({tenant: list(ids) for tenant, ids in self.waiting.items()}, [*self.ring])
        ahead = 0
        while (taken := played.take(suspect_ok=False)) is not None:
            if taken == id_:
                return ahead
            ahead += 1
        return None
