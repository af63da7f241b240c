"""A sound history, made by hand, for the tests of the checker to break."""

import hashlib

from tests.chaos.functions import PAYER, WORDS_OF_STEP
from tests.chaos.handing_on import Handed
from tests.chaos.history import (
    Accepted,
    Call,
    Cancelled,
    Final,
    FunctionStep,
    History,
    Refusal,
    Subscriber,
)
from tests.support.sse import Event
from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.fold import fold
from tickertape.broker.kinds import Opener

TAG = "ada/1"
WORDS = 3


def word(number: int, call: int = 1, tag: str = TAG) -> str:
    return f"{tag}.{call}.{number} "


def delta(attempt: int, seq: int, text: str) -> Entry:
    return Entry(Cursor(attempt, seq), "delta", text)


def opener(attempt: int, kind: Opener, prev: str, n: int) -> Entry:
    return Entry(Cursor(attempt, 0), kind, data={"prev": prev, "n": n, "v": 1})


def completed(attempt: int, seq: int, text: str) -> Entry:
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return Entry(Cursor(attempt, seq), "completed", data={"sha256": checksum})


def begun_twice() -> list[Entry]:
    """A log whose first worker died after a word."""
    whole = "".join(word(n, call=2) for n in range(WORDS))
    return [
        Entry(Cursor(10, 0), "queued", data={"v": 1}),
        opener(20, "started", "10-0", 1),
        delta(20, 1, word(0)),
        opener(30, "reset", "20-1", 2),
        *(delta(30, 1 + n, word(n, call=2)) for n in range(WORDS)),
        completed(30, 1 + WORDS, whole),
    ]


def cut_short() -> list[Entry]:
    return [
        Entry(Cursor(50, 0), "queued", data={"v": 1}),
        opener(60, "started", "50-0", 1),
        delta(60, 1, word(0, tag="ada/2")),
        Entry(Cursor(60, 2), "cancelled"),
    ]


def paying() -> list[Entry]:
    """A log of a function whose first worker died a word after its checkpoint."""
    tag, words = "ada/3", WORDS_OF_STEP
    step = [word(n, tag=tag) for n in range(words)]
    called = {"index": 0, "id": "call", "name": "pay", "arguments": "{}"}

    def until_checkpoint(attempt: int) -> list[Entry]:
        return [
            *(delta(attempt, 1 + n, text) for n, text in enumerate(step)),
            Entry(Cursor(attempt, words + 1), "tool_call", data=called),
            Entry(Cursor(attempt, words + 2), "tool_result", data={**called, "result": "paid"}),
        ]

    last = word(words, call=2, tag=tag)
    return [
        Entry(Cursor(70, 0), "queued", data={"v": 1}),
        opener(80, "started", "70-0", 1),
        *until_checkpoint(80),
        delta(80, words + 3, word(words, tag=tag)),
        opener(90, "reset", f"80-{words + 3}", 2),
        *until_checkpoint(90),
        delta(90, words + 3, last),
        completed(90, words + 4, "".join([*step, last])),
    ]


def events_of(log: list[Entry], prefix: str = "", **about: str) -> list[Event]:
    def data(entry: Entry) -> dict[str, object]:
        return {**about, **({"text": entry.text} if entry.kind == "delta" else entry.data)}

    return [Event(f"{prefix}{entry.cursor}", entry.kind, data(entry)) for entry in log]


def turn_events() -> list[Event]:
    return [
        *events_of(begun_twice(), "a:", request_id="a"),
        *events_of(cut_short(), "b:", request_id="b"),
    ]


def stored(state: str, ended: int, **fields: str) -> dict[str, str]:
    return {"state": state, "ended": str(ended), "crashes": "0", "tenant": "ada", **fields}


def sound_history() -> History:
    """A conversation with a request that was taken over and one that was cancelled; a function."""
    first, second, third = begun_twice(), cut_short(), paying()
    text = "".join(word(n, call=2) for n in range(WORDS))
    at_end = stored("completed", 35, asked="1-0", **{"usage:30": "{}"})
    return History(
        max_crashes=3,
        accepted=[
            Accepted("a", "ada", "key-1", TAG, WORDS, conversation="c"),
            Accepted("b", "ada", "key-2", "ada/2", WORDS, conversation="c"),
            Accepted("p", "ada", "key-5", "ada/3", WORDS_OF_STEP + 1, function=PAYER),
        ],
        refusals=[Refusal("ada", "key-3", 429, "2")],
        cancels=[Cancelled("b", "cancelled", 100.0)],
        subscribers=[
            Subscriber("reader 1", "ada", "a", events=events_of(first), has_ended=True),
            Subscriber("reader 2", "ada", conversation="c", events=turn_events(), has_ended=True),
        ],
        calls=[
            Call(TAG, 1, 90.0, 2, "closed", closed_at_s=91.0),
            Call(TAG, 2, 92.0, 3, "answered"),
            Call("ada/2", 1, 95.0, 1, "closed", closed_at_s=100.1, memory=((TAG, text),)),
            Call("ada/3", 1, 110.0, WORDS_OF_STEP + 1, "closed", closed_at_s=111.0),
            Call("ada/3", 2, 112.0, 1, "answered"),
        ],
        steps=[
            FunctionStep("p", 0, "begun", 110.0),
            FunctionStep("p", WORDS_OF_STEP, "asked", 110.1),
            FunctionStep("p", WORDS_OF_STEP, "paid", 110.2),
            FunctionStep("p", WORDS_OF_STEP, "kept", 110.3),
            FunctionStep("p", WORDS_OF_STEP, "begun", 111.9),
        ],
        finals={
            "a": Final(first, at_end, {"text": text}),
            "b": Final(
                second, stored("cancelled", 65, asked="2-0"), {"text": word(0, tag="ada/2")}
            ),
            "p": Final(
                third,
                stored("completed", 95, **{"usage:90": "{}"}),
                {"text": "".join(fold(third).text)},
            ),
        },
        handed=Handed(
            {"a": "response.completed", "b": "response.cancelled", "p": "response.completed"},
            (
                ("a", "completed", text),
                ("b", "cancelled", word(0, tag="ada/2")),
                ("p", "completed", "".join(fold(third).text)),
            ),
        ),
    )
