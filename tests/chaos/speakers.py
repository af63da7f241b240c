"""Pure: which call of the upstream spoke which words of an answer."""

from collections.abc import Iterator
from itertools import dropwhile, pairwise

from tests.chaos.history import History
from tests.chaos.words import Word, is_whole, words_of
from tickertape.broker.fold import fold


def own_words(history: History) -> Iterator[str]:
    """An attempt has the words of its own call, in order.

    That of a function may begin with words of earlier attempts, up to the last checkpoint.
    """
    for accepted, final in history.outcomes():
        last_call = 0
        repeatable: set[Word] = set()
        for attempt in final.attempts():
            words = words_of("".join(entry.text for entry in attempt if entry.kind == "delta"))
            if words is None or {word.tag for word in words} - {accepted.tag}:
                yield f"{accepted.request_id}: {attempt[0].cursor} holds words of someone else"
            elif problem := _one_speaker(words, last_call, repeatable):
                yield f"{accepted.request_id}: {attempt[0].cursor} {problem}"
            elif words:
                last_call = max(last_call, words[-1].call)
                repeatable.update(words if accepted.function is not None else ())


def whole_answers(history: History) -> Iterator[str]:
    """A completed answer has all words of its plan, and any other one has the first ones."""
    for accepted, final in history.outcomes():
        words = words_of("".join(fold(final.entries).text)) or []
        is_completed = final.terminal is not None and final.terminal.kind == "completed"
        if not is_whole(words, accepted.words if is_completed else len(words)):
            yield f"{accepted.request_id} has not the words of one answer, each once and in order"


def _one_speaker(words: list[Word], last_call: int, repeatable: set[Word]) -> str | None:
    own = list(dropwhile(lambda word: word in repeatable, words))
    if len({word.call for word in own}) > 1:
        return f"holds words of the calls {sorted({word.call for word in own})}"
    if own and own[0].call <= last_call:
        return f"holds words of call {own[0].call}, after those of call {last_call}"
    if any(after.number != before.number + 1 for before, after in pairwise(words)):
        return "holds words that are missing, doubled or out of order"
    return None
