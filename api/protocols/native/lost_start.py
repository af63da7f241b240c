"""Whether a client of a conversation comes back with a cursor that Redis has lost."""

from tickertape.api.fanout.hub import Hub
from tickertape.api.protocols.native.conversation_cursor import (
    ConversationCursor,
    is_before_opener,
    position_after,
)
from tickertape.broker.turns import Turn

# A request that lost its end runs again, so it is one of the last before the cursor.
_MOST_LOOKED_AT = 3


async def has_lost_start(hub: Hub, start: ConversationCursor, turns: list[Turn]) -> bool:
    """Whether the cursor's entry, or the end of a turn before it, is lost. May raise Unavailable.

    A log that has expired is not lost.
    """
    async with hub.watch(start.request_id) as watched:
        position = position_after(watched.tape, start.cursor)
        if position is None and not watched.tape.is_over:
            await hub.catch_up(watched)
            position = position_after(watched.tape, start.cursor)
        if position is None and not watched.is_gone:
            return True
        has_begun = not is_before_opener(watched.tape, start.cursor)
    ids = [turn.request_id for turn in turns]
    ahead = turns[: ids.index(start.request_id)]
    recent = [turn for turn in ahead if not turn.is_erased][-_MOST_LOOKED_AT:]
    if await _goes_on(hub, recent):
        return True
    # A request begins behind the end of the turn ahead, so Redis has that end if it has an opener.
    return not has_begun and await _has_another_end(hub, recent, start)


async def _goes_on(hub: Hub, ahead: list[Turn]) -> bool:
    """Whether a turn is open. A client gets no entry of a turn before the turn ahead has ended."""
    for turn in ahead:
        if turn.status is None:
            async with hub.watch(turn.request_id) as watched:
                if not watched.tape.is_over and not watched.is_gone:
                    return True
    return False


async def _has_another_end(hub: Hub, ahead: list[Turn], start: ConversationCursor) -> bool:
    """Whether a turn ended in a later attempt than that of the end which the client received.

    Release 0.1.0 names no such attempt: the client may then receive the conversation in vain, once.
    """
    tails = await hub.ends.tails([turn.request_id for turn in ahead])
    return any(tail is not None and tail.attempt > start.cursor.attempt for tail in tails)
