"""Names in Redis: one slot for all that changes together, and no two things of one name."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tickertape.broker import keys

words = st.text(max_size=8)


@given(partition=st.integers(0, 9999))
def test_a_request_id_names_its_partition_and_nothing_else(partition: int) -> None:
    request_id = keys.new_request_id(partition)
    assert keys.partition_of(request_id) == partition
    assert re.fullmatch(r"r\d+_[a-z2-7]{26}", request_id)


def test_request_ids_are_never_the_same() -> None:
    assert len({keys.new_request_id(0) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "r0_",
        "r0_" + "a" * 25,
        "r0_" + "a" * 27,
        "r00_" + "a" * 26,
        "r12345_" + "a" * 26,
        "r-1_" + "a" * 26,
        "r٣_" + "a" * 26,
        "R0_" + "a" * 26,
        "r0_" + "A" * 26,
        "r0_" + "a" * 26 + "\n",
        "r0_" + "a" * 25 + "}",
    ],
)
def test_a_text_that_is_no_request_id_has_no_partition_and_no_keys(text: str) -> None:
    assert keys.parse_partition(text) is None
    for name in (keys.partition_of, keys.request, keys.log, keys.log_channel):
        with pytest.raises(ValueError, match="not a request id"):
            name(text)


@given(left=st.lists(words, max_size=3), right=st.lists(words, max_size=3))
@example(left=["ab", "c"], right=["a", "bc"])
@example(left=["", "a"], right=["a", ""])
@example(left=["\ud800"], right=["\udfff"])
def test_a_digest_keeps_its_parts_apart(left: list[str], right: list[str]) -> None:
    assert (keys.digest(*left) == keys.digest(*right)) == (left == right)
    assert re.fullmatch(r"[0-9a-f]{40}", keys.digest(*left))


@given(partitions=st.integers(1, 1024), affinity=words)
def test_what_shares_an_affinity_shares_a_partition(partitions: int, affinity: str) -> None:
    chosen = {keys.choose_partition(partitions, keys.digest(affinity)) for _ in range(3)}
    assert len(chosen) == 1
    assert 0 <= chosen.pop() < partitions


def test_requests_without_affinity_go_everywhere() -> None:
    assert {keys.choose_partition(3, None) for _ in range(200)} == {0, 1, 2}


def test_affinities_go_everywhere() -> None:
    digests = [keys.digest(str(n)) for n in range(200)]
    assert {keys.choose_partition(3, digest) for digest in digests} == {0, 1, 2}


def test_all_names_of_a_partition_share_its_hash_tag_and_are_distinct() -> None:
    request_id = keys.new_request_id(7)
    names = [
        keys.ring(7),
        keys.wake(7),
        keys.dead(7),
        keys.load(7),
        keys.running(7),
        keys.request(request_id),
        keys.log(request_id),
        keys.log_channel(request_id),
        keys.worker_channel(7, "w"),
        keys.conversation(7, "c"),
        keys.turns(7, "c"),
        keys.conversation_channel(7, "c"),
        keys.index(7, "t"),
    ]
    assert {re.match(r"\{p7\}:", name) is not None for name in names} == {True}
    assert len(set(names)) == len(names)
    assert {keys.models()[:5], keys.partition_count()[:5]} == {"{p0}:"}
