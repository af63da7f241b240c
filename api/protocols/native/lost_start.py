"""Whether a client of a conversation comes back with a cursor that Redis has lost."""

from tickertape.api.fanout.hub import Hub
from tickertape.api.protocols.native.conversation_cursor import ConversationCursor
from tickertape.broker.turns import Turn

# A request that lost its end runs again, so it is one of the last before the cursor.
_MOST_LOOKED_AT = 3


async def has_lost_start(hub: Hub, start: ConversationCursor, turns: list[Turn]) -> bool:
    """Whether the cursor's entry, or the end of a turn before it, is lost. May raise Unavailable.

    A client gets no entry of a turn before the end of the turn ahead of it. So a turn that goes on
    ahead of the cursor had an end that is lost. A log that has expired is not lost.
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
    open_turns = [turn for turn in ahead if turn.status is None and not turn.is_erased]
    for turn in open_turns[-_MOST_LOOKED_AT:]:
        async with hub.watch(turn.request_id) as watched:
            if not watched.tape.is_over and not watched.is_gone:
                return True
    return False
