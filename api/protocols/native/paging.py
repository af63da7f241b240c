"""Pages of a tenant's requests and of its conversations, newest first."""

import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query

from tickertape.api.edge.problems import Problem
from tickertape.broker.codec import Cursor
from tickertape.broker.requests import Record, Requests
from tickertape.broker.summaries import ConversationList, Summary
from tickertape.broker.turns import Turn

Limit = Annotated[int, Query(description="The length of the page", ge=1, le=100)]

# A filter with few matches, or many expired requests, must not make one call read all requests.
MAX_READ = 1000
_AFTER_CONVERSATION = re.compile(r"(\d{1,16})-([0-9a-f]{40})", re.ASCII)
_BEFORE = re.compile(r"\d{1,16}-\d{1,10}", re.ASCII)
_AFTER = re.compile(r"(\d{1,16})-(r\d{1,4}_[a-z2-7]{26})", re.ASCII)


@dataclass(frozen=True)
class Page:
    """The filter and the size of a page."""

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
    requests: Requests,
    tenant: str,
    page: Page,
    after: str | None,
    *,
    max_read: int = MAX_READ,
) -> tuple[list[Record], str | None]:
    """The requests of a page, and the `after` of the next page, None at the end.

    A page may be short or empty although another page follows, because one call reads at most
    `max_read` requests. Raises Problem for an `after` that
    no page returned, and Unavailable.
    """
    place = _parse(after) if after is not None else None
    before_ms = place[0] + 1 if place else None
    found: list[Record] = []
    last: str | None = None
    read_count = 0
    async with aclosing(requests.newest(tenant, before_ms)) as places:  # type: ignore[type-var]  # an async generator
        async for created_ms, request_id, record in places:
            if place is not None and (created_ms, request_id) >= place:
                # Created in the same millisecond as the last one of the page before, and on it.
                continue
            if len(found) == page.limit or read_count == max_read:
                return found, last
            read_count += 1
            last = f"{created_ms}-{request_id}"
            if record is not None and page.wants(record):
                found.append(record)
    return found, None


async def conversations_of(
    conversations: ConversationList,
    tenant: str,
    after: str | None,
    *,
    limit: int,
    words: str = "",
    max_read: int = MAX_READ,
) -> tuple[list[Summary], str | None]:
    """The conversations of a page, and the `after` of the next page, None at the end.

    With `words`, only conversations whose title contains these words in any case. A page may be
    short or empty although another page follows, because one call reads at most `max_read`
    conversations. Raises Problem for an `after` that no page returned, and Unavailable.
    """
    place = _parse(after, _AFTER_CONVERSATION) if after is not None else None
    before_ms = place[0] + 1 if place else None
    wanted = words.casefold()
    found: list[Summary] = []
    last: str | None = None
    read_count = 0
    async with aclosing(conversations.newest(tenant, before_ms)) as listed:  # type: ignore[type-var]  # an async generator
        async for updated_ms, key, summary in listed:
            if place is not None and (updated_ms, key) >= place:
                continue
            if len(found) == limit or read_count == max_read:
                return found, last
            read_count += 1
            last = f"{updated_ms}-{key}"
            if summary is not None and wanted in (summary.title or "").casefold():
                found.append(summary)
    return found, None


def turns_before(
    turns: Sequence[Turn], before: str | None, limit: int | None
) -> tuple[Sequence[Turn], str | None]:
    """Pure: the last `limit` turns in front of the place `before`, and the place of the first one.

    The place is None at the start of the conversation. Turns keep their places when others are
    erased. Raises Problem for a `before` that no page returned.
    """
    if before is not None:
        if _BEFORE.fullmatch(before) is None:
            raise Problem(
                400, "invalid_cursor", "before: send the `before` of the last page", param="before"
            )
        place = Cursor.parse(before)
        turns = [turn for turn in turns if turn.row < place]
    page = turns if limit is None else turns[-limit:]
    return page, str(page[0].row) if len(page) < len(turns) else None


def _parse(after: str, form: re.Pattern[str] = _AFTER) -> tuple[int, str]:
    match = form.fullmatch(after)
    if match is None:
        raise Problem(
            400, "invalid_cursor", "after: send the `after` of the last page", param="after"
        )
    return int(match[1]), match[2]
