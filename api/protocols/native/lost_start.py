"""Whether a client of a conversation comes back with a cursor that Redis has lost."""

from tickertape.api.fanout.hub import Hub
from tickertape.api.protocols.native.conversation_cursor import ConversationCursor
from tickertape.broker.turns import Turn

# A request that lost its end runs again, so it is one of the last before the cursor.
_MOST_LOOKED_AT = 3


async def has_lost_start(hub: Hub, start: ConversationCursor, turns: list[Turn]) -> bool:
    """Whether the cursor's entry, or the end of a turn before it, is lost. May raise Unavailable.

    A log that has expired is not lost.
    """
    async with hub.watch(start.request_id) as watched:
        position = watched.tape.position_after(start.cursor)
        if position is None and not watched.tape.is_over:
            await hub.catch_up(watched)
            position = watched.tape.position_after(start.cursor)
        if position is None and not watched.is_gone:
            return True
    ids = [turn.request_id for turn in turns]
    ahead = turns[: ids.index(start.request_id)]
    recent = [turn for turn in ahead if not turn.is_erased][-_MOST_LOOKED_AT:]
    return await _goes_on(hub, recent) or await _has_run_again(hub, recent, start)


async def _goes_on(hub: Hub, ahead: list[Turn]) -> bool:
    """Whether a turn is open. A client gets no entry of a turn before the turn ahead has ended."""
    for turn in ahead:
        if turn.status is None:
            async with hub.watch(turn.request_id) as watched:
                if not watched.tape.is_over and not watched.is_gone:
                    return True
    return False


async def _has_run_again(hub: Hub, ahead: list[Turn], start: ConversationCursor) -> bool:
    """Whether a turn ended in a later attempt than its first, begun after the cursor's entry.

    The client may have received another end before. A worker that crashed shows the same: the
    turn then had no other end, and the client receives the conversation once more in vain. A turn
    that waited while the next one was queued begins late, too, but only once.
    """
    tails = await hub.ends.tails([turn.request_id for turn in ahead])
    for turn, tail in zip(ahead, tails, strict=True):
        if tail is not None and tail.attempt > start.cursor.attempt:
            async with hub.watch(turn.request_id) as watched:
                if watched.tape.runs > 1:
                    return True
    return False
