"""The texts of a row: what a database cannot hold is replaced, and nothing else."""

import json
from typing import Any

import pytest

from tickertape.broker.codec import Cursor, Entry
from tickertape.history.rows import written


def asked(content: str) -> Any:
    """The content of the caller's message, as the history has it."""
    record = {
        b"head": b"{}",
        b"payload": json.dumps({"messages": [{"role": "user", "content": content}]}).encode(),
        b"tenant": b"t",
        b"created": b"1",
        b"ended": b"2",
        b"state": b"completed",
    }
    head = [Entry(Cursor(0, 0), "queued", data={})]
    row = written("r0_a", record, head, {}, b"").request
    return row["asked"]


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("a\0b\0\0", "a\ufffdb\ufffd\ufffd"),
        (r"printf '\u0000'", r"printf '\u0000'"),
        ("\\\0", "\\\ufffd"),
        (r"\\u0000", r"\\u0000"),
    ],
)
def test_a_zero_character_is_replaced_and_the_words_for_one_are_not(
    content: str, kept: str
) -> None:
    assert json.loads(asked(content))[0]["content"] == kept
