"""Rates: what a submit reserves, what the end of the request puts in its place, and refusals."""

import json

import pytest

from tests.broker.checked_partition import TAG, Reply
from tests.broker.partition import Partition

MINUTE_MS = 60_000


def rates(*limits: tuple[str, int, int, bool]) -> str:
    """For each limit its name, its size, what the request costs, and whether that is settled."""
    rows = [
        [name, size, MINUTE_MS, cost, int(settled), int(settled)]
        for name, size, cost, settled in limits
    ]
    return json.dumps([["rates:t", rows]])


def requests(size: int) -> str:
    return rates(("requests", size, 1, False))


async def used(partition: Partition, name: str) -> float:
    stored = (await partition.snapshot()).hash("rates:t")
    return float(stored[name].partition("|")[0])


def numbers(reply: Reply) -> list[int]:
    """The numbers at the end of a reply; fails if a reader of whole numbers could not read them."""
    read = json.loads(str(reply[2]))
    found = read[0] if reply[0] == "OK" else read[:2]
    assert [type(number) for number in found] == [int, int], reply
    return [*found]


async def age(partition: Partition, name: str, ms: int) -> None:
    """Let a time pass for a bucket."""
    stored = (await partition.snapshot()).hash("rates:t")
    level, _, at_ms = stored[name].partition("|")
    await partition.client.hset(f"{TAG}rates:t", name, f"{level}|{int(at_ms) - ms}")


async def test_a_tenant_submits_as_often_as_its_limit_says_and_then_learns_how_long_to_wait(
    partition: Partition,
) -> None:
    for number in range(3):
        word, _, rests = await partition.submit(f"a{number}", rates=requests(3))
        assert word == "OK"
        [[remaining, _]] = json.loads(str(rests))
        assert remaining == 2 - number
    word, _, refusal = await partition.submit("b", rates=requests(3))
    number, wait_ms, [[remaining, _]] = json.loads(str(refusal))
    assert (word, number, remaining) == ("RATE", 0, 0)
    assert MINUTE_MS / 3 - 2000 < wait_ms <= MINUTE_MS / 3
    assert await partition.state("b") == "missing"


async def test_after_the_time_that_the_refusal_names_there_is_room(partition: Partition) -> None:
    await partition.submit("a", rates=requests(1))
    _, _, refusal = await partition.submit("b", rates=requests(1))
    _, wait_ms, _ = json.loads(str(refusal))
    await age(partition, "requests", wait_ms - 2000)
    assert (await partition.submit("b", rates=requests(1)))[0] == "RATE"
    await age(partition, "requests", 2000)
    assert (await partition.submit("b", rates=requests(1)))[0] == "OK"


async def test_a_refusal_by_one_limit_uses_up_no_other_limit(partition: Partition) -> None:
    both = rates(("tokens", 100, 10, True), ("requests", 1, 1, False))
    await partition.submit("a", rates=both)
    before = await used(partition, "tokens")
    word, _, refusal = await partition.submit("b", rates=both)
    number, _, [[tokens, _], _] = json.loads(str(refusal))
    assert (word, number, tokens) == ("RATE", 1, 90)
    assert await used(partition, "tokens") == before


async def test_the_end_of_a_request_puts_its_usage_in_place_of_what_it_reserved(
    partition: Partition,
) -> None:
    await partition.submit("a", rates=rates(("tokens", 5000, 4000, True)))
    assert await used(partition, "tokens") == 4000
    go = await partition.take()
    await partition.finish(go, 1, usage='{"total_tokens":150}')
    assert 50 < await used(partition, "tokens") <= 150


async def test_a_request_without_usage_is_settled_by_its_prompt_and_its_entries(
    partition: Partition,
) -> None:
    await partition.submit("a", rates=rates(("tokens", 100_000, 4000, True)))
    go = await partition.take()
    await partition.append(go, 1, "x", "y")
    await partition.cancel("a")
    # 10 tokens of the prompt, 2 deltas and the terminal, less what a moment gives back.
    assert 0 <= await used(partition, "tokens") <= 13


async def test_a_request_larger_than_the_limit_is_let_in_when_nothing_else_is_used(
    partition: Partition,
) -> None:
    large = rates(("tokens", 100, 500, True))
    assert (await partition.submit("a", rates=large))[0] == "OK"
    assert (await partition.submit("b", rates=large))[0] == "RATE"


async def test_a_repeated_submit_uses_up_nothing(partition: Partition) -> None:
    await partition.submit("a", rates=requests(2))
    assert await partition.submit("a", rates=requests(2)) == ("EXISTS", "a")
    assert (await partition.submit("b", rates=requests(2)))[0] == "OK"


async def test_a_request_that_is_not_settled_costs_its_tenant_nothing_at_its_end(
    partition: Partition,
) -> None:
    await partition.submit("a", rates=requests(2))
    before = await used(partition, "requests")
    await partition.finish(await partition.take(), 1)
    assert await used(partition, "requests") == before


@pytest.mark.parametrize("cost", [500, 10**15])
async def test_a_request_of_any_cost_is_let_in_once_and_blocks_its_tenant_for_one_window_only(
    partition: Partition, cost: int
) -> None:
    huge = rates(("tokens", 100, cost, True))
    assert numbers(await partition.submit("a", rates=huge)) == [0, MINUTE_MS]
    assert await used(partition, "tokens") == 100
    refused = await partition.submit("b", rates=huge)
    assert refused[0] == "RATE"
    assert numbers(refused)[1] <= MINUTE_MS
    await age(partition, "tokens", MINUTE_MS)
    let_in = await partition.submit("c", rates=rates(("tokens", 100, 1, True)))
    assert numbers(let_in)[0] == 99


async def test_a_tenant_that_uses_more_than_it_reserved_waits_until_all_of_it_is_paid(
    partition: Partition,
) -> None:
    # Otherwise each small reservation would buy an answer of any length.
    small = rates(("tokens", 1000, 10, True))
    await partition.submit("a", rates=small)
    await partition.finish(await partition.take(), 1, usage='{"total_tokens":32000}')
    refused = await partition.submit("b", rates=small)
    assert refused[0] == "RATE"
    wait_ms = numbers(refused)[1]
    assert 31 * MINUTE_MS - 1000 < wait_ms <= 31 * MINUTE_MS + 1000
    assert await partition.client.pttl(f"{TAG}rates:t") > wait_ms
    await age(partition, "tokens", wait_ms)
    assert (await partition.submit("b", rates=small))[0] == "OK"


async def test_an_absurd_usage_leaves_a_bucket_that_can_be_read_and_empties(
    partition: Partition,
) -> None:
    tokens = rates(("tokens", 100_000, 4000, True))
    await partition.submit("a", rates=tokens)
    await partition.finish(await partition.take(), 1, usage='{"total_tokens":1e300}')
    assert await used(partition, "tokens") <= 60 * 100_000
    refused = await partition.submit("b", rates=tokens)
    assert refused[0] == "RATE"
    await age(partition, "tokens", numbers(refused)[1])
    assert (await partition.submit("b", rates=tokens))[0] == "OK"


async def test_a_bucket_from_before_the_clock_was_set_back_empties_from_now_on(
    partition: Partition,
) -> None:
    await partition.submit("a", rates=requests(1))
    await age(partition, "requests", -3_600_000)
    assert (await partition.submit("b", rates=requests(1)))[0] == "RATE"
    await age(partition, "requests", MINUTE_MS)
    assert (await partition.submit("b", rates=requests(1)))[0] == "OK"


async def test_a_request_that_is_cancelled_while_it_waits_has_used_no_tokens(
    partition: Partition,
) -> None:
    await partition.submit("a", rates=rates(("tokens", 100_000, 4000, True)))
    await partition.cancel("a")
    assert await used(partition, "tokens") == 0


async def test_a_refusal_names_the_time_after_which_all_limits_have_room(
    partition: Partition,
) -> None:
    both = rates(("tokens", 100, 25, True), ("requests", 2, 1, False))
    for id_ in "ab":
        await partition.submit(id_, rates=both)
    await partition.submit("c", rates=rates(("tokens", 100, 25, True)))
    number, wait_ms = numbers(await partition.submit("d", rates=both))
    assert number == 1
    await age(partition, "tokens", wait_ms)
    await age(partition, "requests", wait_ms)
    assert (await partition.submit("d", rates=both))[0] == "OK"


async def test_input_and_output_are_settled_by_their_own_prices(partition: Partition) -> None:
    money = json.dumps([["rates:t", [["money", 10_000_000, 86_400_000, 5000, 2.5, 10]]]])
    await partition.submit("a", rates=money)
    usage = '{"prompt_tokens":100,"completion_tokens":40,"total_tokens":150}'
    await partition.finish(await partition.take(), 1, usage=usage)
    # Tokens that only the sum has are taken for output.
    assert 740 < await used(partition, "money") <= 750


async def test_a_limit_of_a_day_is_not_lost_to_one_of_a_minute(partition: Partition) -> None:
    day = json.dumps([["rates:t", [["day", 10, 86_400_000, 5, 0, 0]]]])
    await partition.submit("a", rates=day)
    await partition.submit("b", rates=requests(9))
    assert await partition.client.pttl(f"{TAG}rates:t") > 86_400_000
