"""Reads and forgets conversations: their turns, and which request is active."""

import contextlib
from dataclasses import dataclass

from tickertape.broker import request_ids
from tickertape.broker.branches import drop_replaced, path_of, shown_parents
from tickertape.broker.connections import Connections
from tickertape.broker.conversation_states import ConversationState, ConversationStates
from tickertape.broker.errors import NotFinished, ParentMissing, RequestMissing
from tickertape.broker.former_primary import never_from_a_former_primary
from tickertape.broker.homes import Homes
from tickertape.broker.lua import Scripts
from tickertape.broker.outbox import has_history
from tickertape.broker.submission import conversation_key
from tickertape.broker.summaries import Summary
from tickertape.broker.titles import title_of
from tickertape.broker.turn_rows import PAGE_BYTES, TurnRows
from tickertape.broker.turns import Row, Turn, exceed_memory, read_turns
from tickertape.runtime.settings import Settings


@dataclass(frozen=True)
class Conversation:
    """The turns of all branches that were not replaced, oldest first, and the summary.

    `parents` has the turn that each turn follows, None at the start of the conversation. `path`
    has the turns from the start to the latest one.
    """

    turns: list[Turn]
    active_request_id: str | None
    summary: Summary
    parents: dict[str, str | None]
    path: list[Turn]


class Conversations:
    """Reads and forgets conversations; raises Unavailable when Redis does not answer."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._settings = settings
        self._scripts = Scripts(connections.commands)
        self._homes = Homes(connections)
        self._rows = TurnRows(connections)
        self._states = ConversationStates(connections)
        self.partitions = connections.partitions

    def channel(self, partition: int, key: str) -> str:
        """The channel of a conversation's notices."""
        return self._keys.conversation_channel(partition, key)

    async def place(self, tenant: str, conversation_id: str) -> tuple[int, str]:
        """The partition and the short key of a conversation; raises Unavailable.

        The partition changes only while the conversation does not exist.
        """
        key = conversation_key(tenant, conversation_id)
        return await self._homes.of_conversation(key), key

    @never_from_a_former_primary
    async def outline(self, tenant: str, conversation_id: str) -> Conversation:
        """The conversation, whose turns have no messages; raises RequestMissing without one."""
        partition, key = await self.place(tenant, conversation_id)
        stored = await self._connections.ask("HGETALL", self._keys.conversation(partition, key))
        if not stored:
            raise RequestMissing("There is no such conversation.")
        active = stored.get(b"active")
        turns = await self.outlines(partition, key)
        kept = drop_replaced(turns)
        summary = Summary.read(stored)
        if summary is None:
            # A conversation of version 0.1 has its title in its first question only.
            title = await self._first_title(partition, key, kept)
            summary = _summary_of(conversation_id, kept, stored, title)
        active_id = active.decode() if active else None
        path = path_of(turns, turns[-1].request_id) if turns else []
        return Conversation(kept, active_id, summary, shown_parents(turns), path)

    async def active(self, tenant: str, conversation_id: str) -> str | None:
        """The id of the active request; None if there is none, or no such conversation."""
        with contextlib.suppress(RequestMissing):
            return await self._active(tenant, conversation_id)
        return None

    @never_from_a_former_primary
    async def _active(self, tenant: str, conversation_id: str) -> str:
        partition, key = await self.place(tenant, conversation_id)
        stored = await self._connections.ask_small(
            "HGET", self._keys.conversation(partition, key), "active"
        )
        if not stored:
            raise RequestMissing
        active_id: str = stored.decode()
        return active_id

    async def state(self, partition: int, key: str) -> ConversationState:
        """What changes with the title or the turns of a conversation, in a small reply."""
        (state,) = await self._states.read(partition, [key])
        return state

    def may_move(self, key: str) -> bool:
        """Whether a conversation that does not exist may begin in more than one partition."""
        return len(self.partitions.map.homes(key)) > 1

    async def outlines(self, partition: int, key: str) -> list[Turn]:
        """All turns of a conversation without their messages, in the order of their questions.

        Replaced turns are included, and the places of erased ones. A conversation of any size takes
        little memory.
        """
        turns = await self._rows.outlines(partition, key)
        return turns[-self._settings.conversation_turns :]

    async def _first_title(self, partition: int, key: str, outlines: list[Turn]) -> str | None:
        for outline in outlines:
            for turn in await self.whole_at(partition, key, [outline]):
                if title := title_of(turn.asked):
                    return title
        return None

    async def whole(self, tenant: str, conversation_id: str, outlines: list[Turn]) -> list[Turn]:
        """These turns with their messages, without those that were erased since."""
        partition, key = await self.place(tenant, conversation_id)
        return await self.whole_at(partition, key, outlines)

    async def whole_at(self, partition: int, key: str, outlines: list[Turn]) -> list[Turn]:
        """As `whole`, for the place of a conversation."""
        rows = [str(row) for turn in outlines for row in (turn.row, turn.answer_row) if row]
        found = await self._connections.ask_all(
            [("XRANGE", self._keys.turns(partition, key), row, row) for row in rows]
        )
        turns = read_turns(row for page in found for row in page)
        return [turn for turn in turns if not turn.is_erased]

    @never_from_a_former_primary
    async def check_parent(self, tenant: str, conversation_id: str, parent_id: str) -> None:
        """Raise ParentMissing unless the request has a turn in this conversation; or Unavailable.

        A parent that was erased is accepted: the path goes on with the turn before it.
        """
        partition, key = await self.place(tenant, conversation_id)
        if request_ids.parse_partition(parent_id) != partition:
            raise ParentMissing
        found = await self._connections.ask_small("HGET", self._keys.request(parent_id), "conv")
        if found is not None and found.decode() == key:
            return
        # The request may have expired before its turn.
        if found is not None or parent_id not in {
            turn.request_id for turn in await self.outlines(partition, key)
        }:
            raise ParentMissing

    @never_from_a_former_primary
    async def rename(self, tenant: str, conversation_id: str, title: str) -> None:
        """Give a conversation a title, which no other title replaces.

        Raises RequestMissing when there is no such conversation, and Unavailable.
        """
        partition, key = await self.place(tenant, conversation_id)
        word, _ = await self._scripts.verdict(
            "rename",
            [self._keys.ring(partition)],
            conversation=key,
            title=title,
            by="user",
            claim="",
            request_id="",
        )
        if word == "MISSING":
            raise RequestMissing("There is no such conversation.")

    @never_from_a_former_primary
    async def retain(self, tenant: str, conversation_id: str, keep_s: int) -> None:
        """Keep a conversation, and the requests of it that end from now on, for at most `keep_s`.

        The time begins with the end of the last request. Raises RequestMissing when there is no
        such conversation, and Unavailable.
        """
        partition, key = await self.place(tenant, conversation_id)
        word, _ = await self._scripts.verdict(
            "retain", [self._keys.ring(partition)], conversation=key, keep_s=keep_s
        )
        if word == "MISSING":
            raise RequestMissing("There is no such conversation.")

    @never_from_a_former_primary
    async def erase_turn(self, tenant: str, conversation_id: str, request_id: str) -> None:
        """Erase a turn whose request has expired; the turns that follow it stay.

        Raises RequestMissing when the conversation has no such turn, NotFinished when the request
        still exists, and Unavailable.
        """
        partition, key = await self.place(tenant, conversation_id)
        own = await self._rows.own(partition, key, request_id)
        if not own:
            raise RequestMissing("The conversation has no such turn.")
        word, _ = await self._scripts.verdict(
            "erase_turn",
            [self._keys.ring(partition)],
            request_id=request_id,
            conversation=key,
            asked=next((row_id for row_id, row in own if b"asked" in row), b""),
            answered=next((row_id for row_id, row in own if b"asked" not in row), b""),
            has_history=has_history(self._settings),
        )
        if word == "ACTIVE":
            raise NotFinished

    async def newest_turns(self, partition: int, key: str, request_id: str) -> list[Turn]:
        """As `turns`, without the oldest, which exceed what a request is given of them.

        A conversation may hold gigabytes of photos, and one reply with all of them would never
        come in time. The rows are read from the newest on, in pages.
        """
        rows: list[Row] = []
        # The messages made of rows are a little longer or shorter than the rows.
        most_bytes = 2 * self._settings.memory_bytes
        page_bytes = min(PAGE_BYTES, self._settings.memory_bytes)
        async for page in self._rows.pages(partition, key, "XREVRANGE", page_bytes):
            rows += page
            if exceed_memory(rows, request_id, most_bytes):
                break
        return read_turns(reversed(rows))[-self._settings.conversation_turns :]

    @never_from_a_former_primary
    async def forget(self, tenant: str, conversation_id: str) -> int:
        """End the requests of a conversation, and erase the conversation with all its requests.

        Returns how many requests were erased (0 if an earlier call, whose reply was lost, did it).
        Raises RequestMissing, Unavailable.
        """
        partition, key = await self.place(tenant, conversation_id)
        if not await self._connections.ask_small("EXISTS", self._keys.conversation(partition, key)):
            raise RequestMissing("There is no such conversation.")
        ids: dict[bytes, None] = {}
        read_to = b""
        async for page in self._rows.pages(partition, key, is_short=True):
            ids |= {row[b"id"]: None for _, row in page}
            read_to = page[-1][0]
        word, details = await self._scripts.verdict(
            "forget",
            [self._keys.ring(partition)],
            *ids,
            read_to=read_to,
            has_history=has_history(self._settings),
            conversation=key,
            tenant=tenant,
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
        )
        return int(details[0]) if word == "OK" else 0


def _summary_of(
    conversation_id: str, turns: list[Turn], stored: dict[bytes, bytes], title: str | None
) -> Summary:
    """The summary of a conversation without a request of this version."""
    active = stored.get(b"active")
    times = [turn.row.attempt for turn in turns] or [int(stored.get(b"idle", b"0"))]
    return Summary(
        conversation_id=conversation_id,
        title=title,
        created_ms=times[0],
        updated_ms=times[-1],
        turns=len(turns),
        active_request_id=active.decode() if active else None,
    )
