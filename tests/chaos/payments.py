"""Pure: the tool of a function runs once for each step, whichever workers die.

A fail-over may lose the record of a call or a checkpoint, as docs/functions.md says.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.functions import ONCE, WORDS_OF_STEP
from tests.chaos.history import Accepted, FunctionStep, History, StepEvent
from tests.chaos.losses import loss_between


def paid_once(history: History) -> Iterator[str]:
    """No step is paid twice, a completed answer has paid all, and `once` begins at most once."""
    by_request = _by_request(history)
    for accepted, final in history.outcomes():
        steps = by_request[accepted.request_id]
        for words, paid in _by_words(steps, "paid").items():
            if len(paid) > 1 and not _is_excused(history, steps, words):
                yield f"{accepted.request_id} paid {len(paid)} times at word {words}"
        begun = [step.at_s for step in steps if step.event == "begun"]
        if (
            accepted.function == ONCE
            and len(begun) > 1
            and not loss_between(history, accepted.request_id, accepted.asked_s, begun[-1])
        ):
            yield f"{accepted.request_id} began {len(begun)} times"
        if accepted.function is not None and final.terminal and final.terminal.kind == "completed":
            due = {*range(WORDS_OF_STEP, accepted.words + 1, WORDS_OF_STEP)}
            if (paid_at := {*_by_words(steps, "paid")}) != due:
                yield f"{accepted.request_id} is completed, and paid at {sorted(paid_at)}"


def is_payment_open(history: History, accepted: Accepted) -> bool:
    """Whether a tool was called and no checkpoint after that is known to be kept.

    Then an interruption has to fail the request, whatever its policy says.
    """
    steps = [step for step in history.steps if step.request_id == accepted.request_id]
    asked, kept = _by_words(steps, "asked"), _by_words(steps, "kept")
    is_lost = any(
        loss_between(history, accepted.request_id, step.at_s, step.at_s) is not None
        for step in steps
    )
    return accepted.function == ONCE or is_lost or bool(asked.keys() - kept.keys())


def _is_excused(history: History, steps: Sequence[FunctionStep], words: int) -> bool:
    """Whether a fail-over may have lost what was recorded of this step before it ran again."""
    times = [step.at_s for step in steps if step.words == words and step.event != "begun"]
    return loss_between(history, steps[0].request_id, min(times), max(times)) is not None


def _by_request(history: History) -> dict[str, list[FunctionStep]]:
    found: dict[str, list[FunctionStep]] = defaultdict(list)
    for step in history.steps:
        found[step.request_id].append(step)
    return found


def _by_words(steps: Sequence[FunctionStep], event: StepEvent) -> dict[int, list[FunctionStep]]:
    found: dict[int, list[FunctionStep]] = defaultdict(list)
    for step in steps:
        if step.event == event:
            found[step.words].append(step)
    return found
