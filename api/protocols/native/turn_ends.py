"""Pure: how the turns of a conversation ended, and whether Redis lost such an end."""

from collections.abc import Mapping

from tickertape.broker.turns import Turn

End = tuple[str, str | None]
"""How a turn ended, and the text that is remembered of it."""


def end_of(turn: Turn) -> End | None:
    """How a turn ended; None if it has not."""
    return None if turn.status is None else (turn.status, turn.answered)


def has_lost(before: Mapping[str, End | None], turns: list[Turn]) -> bool:
    """Whether Redis lost the latest turns or the end of a turn, as a fail-over may.

    The earliest turns are forgotten in the course of time, and a turn that is erased has no end.
    """
    kept = [turn for turn in turns if turn.request_id in before]
    if list(before)[-1:] != [turn.request_id for turn in kept[-1:]]:
        return True
    return any(
        before[turn.request_id] not in {None, end_of(turn)} for turn in kept if not turn.is_erased
    )
