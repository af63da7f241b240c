"""The history beside Redis: what Redis keeps no longer is read there, and erased there, too.

Redis is asked first, and has all that is not over. Without a history, only Redis is asked.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from tickertape.broker.connections import Connections
from tickertape.broker.conversations import Conversation
from tickertape.broker.errors import RequestMissing
from tickertape.broker.homes import Homes
from tickertape.broker.submission import conversation_key
from tickertape.broker.summaries import ConversationList, ListedConversation
from tickertape.history.opening import HistoryUnavailable
from tickertape.history.rows import conversation_of, summary_of
from tickertape.runtime.json_types import JsonObject

if TYPE_CHECKING:
    from tickertape.history.store import History

_TASK = "history"


class Past:
    """Each call checks the tenant. Raises HistoryUnavailable while the database is away."""

    def __init__(self, history: "History | None", connections: Connections) -> None:
        self._history = history
        self._faults = connections.faults

    async def conversation(self, tenant: str, conversation_id: str) -> Conversation | None:
        """A conversation of the history with its messages; None without one."""
        if self._history is None:
            return None
        key = conversation_key(tenant, conversation_id)
        found = await self._history.conversation(tenant, key)
        return None if found is None else conversation_of(*found)

    async def erase(
        self,
        request_id: str,
        tenant: str,
        in_redis: Awaitable[None],
        *,
        conversation_id: str | None = None,
    ) -> None:
        """Erase a request in Redis and here; raises RequestMissing if neither has it.

        With `conversation_id`, only a turn of that conversation. While the database is away,
        `tickertape deliver` erases the request there later.
        """
        try:
            await in_redis
        except RequestMissing:
            row = None if self._history is None else await self._history.find(tenant, request_id)
            if row is None or not _is_of(row, tenant, conversation_id):
                raise
            await self._erase_here(request_id)
        else:
            # The outbox has the erasure as well.
            with contextlib.suppress(HistoryUnavailable):
                await self._erase_here(request_id)

    async def forget(self, tenant: str, conversation_id: str, in_redis: Awaitable[object]) -> None:
        """Erase a conversation in Redis and here; raises RequestMissing if neither has it.

        The history may have turns that Redis has not, so that this waits for the database.
        """
        key = conversation_key(tenant, conversation_id)
        await self._in_both(in_redis, lambda history: history.forget(tenant, key))

    async def rename(
        self, tenant: str, conversation_id: str, title: str, in_redis: Awaitable[None]
    ) -> None:
        """Give a conversation a title in Redis and here."""
        key = conversation_key(tenant, conversation_id)
        await self._in_both(in_redis, lambda history: history.rename(tenant, key, title))

    async def retain(
        self, tenant: str, conversation_id: str, keep_s: int, in_redis: Awaitable[None]
    ) -> None:
        """Keep a conversation in Redis and here for at most `keep_s` after its last request."""
        key = conversation_key(tenant, conversation_id)
        await self._in_both(in_redis, lambda history: history.retain(tenant, key, keep_s))

    async def _in_both(
        self, in_redis: Awaitable[object], here: "Callable[[History], Awaitable[int]]"
    ) -> None:
        """Change a conversation. `here` returns whether the history has the conversation."""
        is_missing = await _is_missing(in_redis)
        is_here = self._history is not None and await here(self._history)
        if is_missing and not is_here:
            raise RequestMissing("There is no such conversation.")

    async def _erase_here(self, request_id: str) -> None:
        if self._history is not None:
            await self._history.erase([request_id])


async def _is_missing(in_redis: Awaitable[object]) -> bool:
    try:
        await in_redis
    except RequestMissing:
        return True
    return False


def _is_of(row: JsonObject, tenant: str, conversation_id: str | None) -> bool:
    if conversation_id is None:
        return True
    return bool(row["conversation_key"] == conversation_key(tenant, conversation_id))


class WholeList(ConversationList):
    """The conversations of Redis, and those of the history that Redis has no longer."""

    def __init__(
        self, in_redis: ConversationList, history: "History", connections: Connections
    ) -> None:
        self._in_redis = in_redis
        self._history = history
        self._connections = connections
        self._homes = Homes(connections)

    async def newest(
        self, tenant: str, before_ms: int | None = None
    ) -> AsyncIterator[ListedConversation]:
        """All conversations, the one with the latest request first.

        While the database is away, only those of Redis, and the log has the reason.
        """
        present = aiter(self._in_redis.newest(tenant, before_ms))
        past = aiter(self._past(tenant, before_ms))
        first, second = await anext(present, None), await anext(past, None)
        while first is not None or second is not None:
            if second is None or (first is not None and first[:2] > second[:2]):
                assert first is not None  # noqa: S101  # for mypy
                yield first
                first = await anext(present, None)
            else:
                yield second
                second = await anext(past, None)

    async def _past(self, tenant: str, before_ms: int | None) -> AsyncIterator[ListedConversation]:
        before = None if before_ms is None else (before_ms, "")
        while True:
            try:
                page = await self._history.listed(tenant, before)
            except HistoryUnavailable as error:
                self._connections.faults.failed(_TASK, error)
                return
            self._connections.faults.worked(_TASK)
            if not page:
                return
            # Redis lists those that it has, maybe with later requests.
            are_in_redis = await self._are_in_redis([row for row, _ in page])
            for (row, turns), is_in_redis in zip(page, are_in_redis, strict=True):
                if not is_in_redis:
                    summary = summary_of(row, turns)
                    yield ListedConversation(row["updated_ms"], row["key"], summary)
            before = page[-1][0]["updated_ms"], page[-1][0]["key"]

    async def _are_in_redis(self, rows: list[JsonObject]) -> list[int]:
        """For each conversation 1 if Redis has it, in one round trip."""
        names = [
            self._connections.keys.conversation(await self._homes.of_conversation(key), key)
            for key in (row["key"] for row in rows)
        ]
        return await self._connections.ask_all([("EXISTS", name) for name in names])
