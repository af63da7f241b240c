"""An upstream that continues an answer may repeat the kept text first."""

import json

import pytest

from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.tally import Tally


@pytest.mark.parametrize(
    ("kept", "texts", "expected"),
    [
        ("One, two,", ["One, two,", " three"], " three"),
        ("One, two, ", ["One, two,", "three"], "three"),
        ("One, two,", [" three", "One, two,"], " threeOne, two,"),
        ("One, two,", ["One", " more"], "One more"),
    ],
)
def test_only_a_first_text_that_is_the_whole_kept_text_is_an_echo(
    kept: str, texts: list[str], expected: str
) -> None:
    tally = Tally(kept, kept_deltas=3)
    reader = ChunkReader(tally, echo=kept)
    for text in texts:
        chunk = {"choices": [{"index": 0, "delta": {"content": text}}]}
        reader.read(json.dumps(chunk).encode())
    assert tally.text == kept + expected
