from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.worker.upstream.surrogates import SurrogateMender, scrubbed, without_orphans

HIGH, LOW = "\ud83d", "\ude00"


def mended(*texts: str) -> list[str]:
    mender = SurrogateMender()
    return [mender.mend("delta", text) for text in texts] + [text for _, text in mender.close()]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["plain"], ["plain"]),
        (["né 😀"], ["né 😀"]),
        ([HIGH, LOW], ["", "😀"]),
        (["a" + HIGH, LOW + "b"], ["a", "😀b"]),
        ([HIGH + LOW], ["😀"]),
        ([HIGH, "b"], ["", "\ufffdb"]),
        ([HIGH, HIGH, LOW], ["", "\ufffd", "😀"]),
        ([LOW], ["\ufffd"]),
        (["a" + LOW + "b"], ["a\ufffdb"]),
        (["a" + HIGH + "b"], ["a\ufffdb"]),
        ([HIGH], ["", "\ufffd"]),
    ],
)
def test_halves_are_joined_and_orphans_replaced(texts: list[str], expected: list[str]) -> None:
    assert mended(*texts) == expected


def test_a_half_joins_only_a_half_of_the_same_channel() -> None:
    mender = SurrogateMender()
    assert mender.mend("delta", HIGH) == ""
    assert mender.mend("reasoning", LOW) == "\ufffd"
    assert mender.mend("delta", LOW) == "😀"
    assert list(mender.close()) == []


@given(st.text(), st.lists(st.integers(0, 100)))
def test_a_text_cut_between_any_two_halves_comes_out_whole(text: str, cuts: list[int]) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    edges = sorted({0, len(units), *(2 * (cut % (len(units) // 2 + 1)) for cut in cuts)})
    pieces = [units[a:b].decode("utf-16-le", "surrogatepass") for a, b in pairwise(edges)]
    assert "".join(mended(*pieces)) == without_orphans(text)


@given(st.lists(st.text(st.characters(), max_size=5)))
def test_whatever_comes_out_can_be_encoded(texts: list[str]) -> None:
    "".join(mended(*texts)).encode()


def test_json_is_scrubbed_at_every_depth() -> None:
    odd = {"a": [HIGH, {LOW: float("nan")}], "b": float("inf"), "c": [1, 1.5, None, True, "ok"]}
    assert scrubbed(odd) == {
        "a": ["\ufffd", {"\ufffd": None}],
        "b": None,
        "c": [1, 1.5, None, True, "ok"],
    }
