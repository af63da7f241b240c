"""The hash tags of a cluster: each partition in its slot, any number of them spread evenly."""

import pytest
from redis.crc import key_slot

from tickertape.broker.keys import Keyspace, partition_of_name
from tickertape.broker.partition_tags import SLOTS, chosen_slot, slot_of, spread_tag


def test_a_tag_falls_into_the_slot_of_its_partition_as_redis_counts() -> None:
    for keys in (Keyspace(is_spread=True), Keyspace("a-b_c", is_spread=True)):
        for partition in (*range(100), 1023):
            assert key_slot(keys.ring(partition).encode()) == chosen_slot(partition)
            assert slot_of(keys.tag_text(partition)) == chosen_slot(partition)


@pytest.mark.parametrize("masters", [1, 2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("partitions", [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 64])
def test_no_master_has_more_partitions_than_it_must(masters: int, partitions: int) -> None:
    counts = [0] * masters
    for partition in range(partitions):
        counts[chosen_slot(partition) * masters // SLOTS] += 1
    assert max(counts) == -(-partitions // masters)


def test_the_tags_stay_the_same_from_version_to_version() -> None:
    """Data of a cluster would be lost with other tags."""
    assert [spread_tag(f"p{n}", n) for n in range(4)] == [
        "p0.aehw",
        "p1.ahez",
        "p2.blrc",
        "p3.bivv",
    ]
    assert Keyspace("ns", is_spread=True).tag(1023) == "{" + spread_tag("ns.p1023", 1023) + "}:"
    assert Keyspace().tag(3) == "{p3}:"
    assert Keyspace("ns").tag(3) == "{ns.p3}:"


@pytest.mark.parametrize("namespace", ["", "p7", "a-b_c", "7"])
@pytest.mark.parametrize("is_spread", [True, False])
def test_a_name_shows_its_partition(namespace: str, is_spread: bool) -> None:
    keys = Keyspace(namespace, is_spread)
    for partition in (0, 3, 12, 1023):
        assert partition_of_name(keys.worker_channel(partition, "{p5}:w").encode()) == partition
    with pytest.raises(ValueError, match="not the name of a key"):
        partition_of_name(b"p3:ring")
