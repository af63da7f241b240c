"""Names in Redis: one slot for all that changes together, and no two things of one name."""

import re
from importlib.resources import files

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.keyspace import KEYS
from tickertape.broker import keys, request_ids
from tickertape.broker.partition_map import PartitionMap

words = st.text(max_size=8)


@given(partition=st.integers(0, 9999))
def test_a_request_id_names_its_partition_and_nothing_else(partition: int) -> None:
    request_id = request_ids.new_request_id(partition)
    assert request_ids.partition_of(request_id) == partition
    assert re.fullmatch(r"r\d+_[a-z2-7]{26}", request_id)


def test_request_ids_are_never_the_same() -> None:
    assert len({request_ids.new_request_id(0) for _ in range(1000)}) == 1000


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
def test_a_text_that_is_not_a_request_id_has_neither_partition_nor_keys(text: str) -> None:
    assert request_ids.parse_partition(text) is None
    for name in (request_ids.partition_of, KEYS.request, KEYS.log, KEYS.log_channel):
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
def test_requests_of_one_affinity_share_a_partition(partitions: int, affinity: str) -> None:
    chosen = {PartitionMap(partitions).homes(keys.digest(affinity))[0] for _ in range(3)}
    assert len(chosen) == 1
    assert 0 <= chosen.pop() < partitions


def test_affinities_go_everywhere() -> None:
    digests = [keys.digest(str(n)) for n in range(200)]
    assert {PartitionMap(3).homes(digest)[0] for digest in digests} == {0, 1, 2}


REQUEST_ID = request_ids.new_request_id(7)
# Every key and channel of one partition. A script builds the beginning of each and adds the rest.
OF_SCRIPTS = {
    KEYS.ring(7): "ring",
    KEYS.epoch(7): "epoch",
    KEYS.waiting(7, "t"): "wait:",
    KEYS.users_in_turn(7, "t"): "users:",
    KEYS.suspect(7): "suspect",
    KEYS.newer(7): "newer",
    KEYS.running(7): "running",
    KEYS.delayed(7): "delayed",
    KEYS.wake(7): "wake",
    KEYS.idle(7): "idle",
    KEYS.pools(7): "pools",
    KEYS.claim(7, "n"): "claim:",
    KEYS.load(7): "load",
    KEYS.erasures(7): "erasures",
    KEYS.busy(7): "busy",
    KEYS.owed(7): "owed",
    KEYS.crowd(7): "crowd",
    KEYS.weights(7): "weights",
    KEYS.unsettled(7): "unsettled",
    KEYS.kept(7): "kept",
    KEYS.aging(7): "aging",
    KEYS.kept_of(7, "t"): "kept:",
    KEYS.outbox(7, "webhooks"): "outbox:",
    KEYS.outboxed(7): "outboxed",
    KEYS.repeats(7): "repeats",
    KEYS.given_up(7): "given_up",
    KEYS.given_up_of(REQUEST_ID): "given_up:",
    KEYS.erased(7): "erased",
    KEYS.record(REQUEST_ID): "record:",
    KEYS.tenants(7): "tenants",
    KEYS.uncompacted(7): "uncompacted",
    KEYS.dead(7): "dead",
    KEYS.request(REQUEST_ID): "req:",
    KEYS.log(REQUEST_ID): "log:",
    KEYS.exchange(REQUEST_ID): "exchange:",
    KEYS.idempotency(7, "i"): "idem:",
    KEYS.tries(7, "i"): "tries:",
    KEYS.conversation(7, "c"): "conv:",
    KEYS.in_flight(7, "t"): "tenant:",
    KEYS.index(7, "t"): "index:",
    KEYS.expiry(7, "t"): "expiry:",
    KEYS.conversations(7, "t"): "convs:",
    KEYS.watchers(7, "c"): "watch:",
    KEYS.log_channel(REQUEST_ID): "push:",
    KEYS.conversation_channel(7, "c"): "push:conv:",
    KEYS.worker_channel(7, "w"): "push:worker:",
    KEYS.erased_channel(7): "push:erased",
}
OF_CONVERSATIONS = {KEYS.held(7, "c"): ":wait", KEYS.turns(7, "c"): ":turns"}
PLAIN_ONLY = {
    KEYS.models(), KEYS.models_fault(), KEYS.partition_map(), KEYS.partition_count(),
    KEYS.upstream(), KEYS.fleet(), KEYS.report("w"), KEYS.agreement(),
    KEYS.seats(0, "w"), KEYS.rates(0, "w"), KEYS.settled(0), KEYS.access(), KEYS.api_keys(),
    KEYS.key_ids(), KEYS.key_uses(), KEYS.revoked(), KEYS.rewriting(0),
    KEYS.announced(), KEYS.announcement("w"), KEYS.minute("w"), KEYS.entered("w", "c"),
}  # fmt: skip


def texts_of_scripts() -> str:
    folder = files("tickertape.broker") / "scripts"
    return "".join(path.read_text("utf-8") for path in folder.iterdir())


def test_the_scripts_build_the_keys_that_are_listed_and_no_others() -> None:
    texts = texts_of_scripts()
    built = {*re.findall(r"\bP \.\. '([a-z_:]+)'", texts)}
    # Two sorted sets are also built as `P .. set`, in loops over their names.
    assert built == set(OF_SCRIPTS.values())
    for name, beginning in OF_SCRIPTS.items():
        assert name.startswith("{p7}:" + beginning)
        assert (name == "{p7}:" + beginning) != beginning.endswith(":")


def test_the_scripts_build_the_keys_of_a_conversation_that_are_listed() -> None:
    built = {*re.findall(r"\.\. '(:[a-z]+)'", texts_of_scripts())}
    assert built == set(OF_CONVERSATIONS.values())
    for name, ending in OF_CONVERSATIONS.items():
        assert name == KEYS.conversation(7, "c") + ending


def test_the_rights_that_are_checked_are_those_of_keys_that_are_listed() -> None:
    checked = {*re.findall(r"'[A-Z]+', '([a-z_:]+)', \d", texts_of_scripts())}
    plain = {re.sub(r"^\{p0\}:|(?<=:)[cw]$", "", name) for name in PLAIN_ONLY}
    assert checked <= {*OF_SCRIPTS.values(), *plain}


def test_every_function_that_names_a_key_is_in_this_list() -> None:
    named = {name for name in dir(keys.Keyspace) if not name.startswith("_")}
    listed = len(OF_SCRIPTS) + len(OF_CONVERSATIONS) + len(PLAIN_ONLY)
    assert len(named - {"tag", "tag_text", "namespace", "is_spread"}) == listed


def test_all_names_of_a_partition_share_its_hash_tag_and_are_distinct() -> None:
    names = [*OF_SCRIPTS, *OF_CONVERSATIONS]
    assert {re.match(r"\{p7\}:", name) is not None for name in names} == {True}
    assert len(set(names)) == 49
    assert {name[:5] for name in PLAIN_ONLY} == {"{p0}:"}


def test_systems_with_different_namespaces_share_no_name() -> None:
    spaces = [keys.Keyspace(name) for name in ("", "a", "b", "p0")]
    names = [
        name
        for space in spaces
        for name in (space.ring(0), space.ring(10), space.request(REQUEST_ID), space.fleet())
    ]
    assert len(set(names)) == len(names)
    assert spaces[1].ring(0) == "{a.p0}:ring"
