"""Pages of a tenant's requests: where a page ends, and how the next one begins after it."""

import re
from contextlib import aclosing
from dataclasses import dataclass

from tickertape.api.edge.problems import Problem
from tickertape.broker.requests import Record, Requests

# Neither a filter that matches little nor requests that have expired may make one call read
# everything there is.
MAX_LOOKED_AT = 1000
_AFTER = re.compile(r"(\d{1,16})-(r\d{1,4}_[a-z2-7]{26})", re.ASCII)


@dataclass(frozen=True)
class Page:
    """Which requests are wanted, and how many of them."""

    limit: int
    conversation_id: str | None = None
    status: str | None = None

    def wants(self, record: Record) -> bool:
        """Whether a request belongs on the page."""
        return (self.status is None or record.status == self.status) and (
            self.conversation_id is None
            or record.head.get("conversation_id") == self.conversation_id
        )


async def page_of(
    requests: Requests, tenant: str, page: Page, after: str | None
) -> tuple[list[Record], str | None]:
    """The requests of a page, newest first, and what its follower begins after; None at the end.

    A page may be short, even empty, and still have a follower. Raises Problem for an `after` that
    no page gave, Unavailable.
    """
    place = _parse(after) if after is not None else None
    before_ms = place[0] + 1 if place else None
    found: list[Record] = []
    last: str | None = None
    looked_at = 0
    async with aclosing(requests.newest(tenant, before_ms)) as places:  # type: ignore[type-var]  # an async generator
        async for created_ms, request_id, record in places:
            if place is not None and (created_ms, request_id) >= place:
                # Created in the same millisecond as the last one of the page before, and on it.
                continue
            if len(found) == page.limit or looked_at == MAX_LOOKED_AT:
                return found, last
            looked_at += 1
            last = f"{created_ms}-{request_id}"
            if record is not None and page.wants(record):
                found.append(record)
    return found, None


def _parse(after: str) -> tuple[int, str]:
    match = _AFTER.fullmatch(after)
    if match is None:
        raise Problem(400, "invalid_cursor", "after: give what the page before said", param="after")
    return int(match[1]), match[2]
