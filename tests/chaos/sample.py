"""A sound history, made by hand, for the tests of the checker to break."""

import hashlib

from tests.chaos.history import (
    Accepted,
    Call,
    Cancelled,
    Final,
    History,
    Refusal,
    Subscriber,
)
from tests.support.sse import Event
from tickertape.broker.codec import Cursor, Entry
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
    """Two requests of one conversation: one taken over and completed, one cancelled."""
    first, second = begun_twice(), cut_short()
    text = "".join(word(n, call=2) for n in range(WORDS))
    at_end = stored("completed", 35, asked="1-0", **{"usage:30": "{}"})
    return History(
        max_crashes=3,
        accepted=[
            Accepted("a", "ada", "key-1", TAG, WORDS, conversation="c"),
            Accepted("b", "ada", "key-2", "ada/2", WORDS, conversation="c"),
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
        ],
        finals={
            "a": Final(first, at_end, {"text": text}),
            "b": Final(
                second, stored("cancelled", 65, asked="2-0"), {"text": word(0, tag="ada/2")}
            ),
        },
    )
