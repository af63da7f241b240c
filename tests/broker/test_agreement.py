"""What processes agree on in Redis: the format of its data, and settings."""

from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest
import structlog

from tests.support.accounts import ALL, limited_account
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.broker.agreement import (
    FORMAT,
    Agreement,
    Format,
    read_agreed,
    settings_of_api,
    settings_of_worker,
)
from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, SettingsInvalid
from tickertape.runtime.settings import Settings

Logged = list[MutableMapping[str, Any]]
RETENTION = "TICKERTAPE_RETENTION_S"


@pytest.fixture
async def connections(redis_url: str) -> AsyncIterator[Connections]:
    connections = Connections(redis_url)
    yield connections
    await connections.aclose()


async def begin(
    connections: Connections, settings: dict[str, str], own_format: Format = FORMAT
) -> Logged:
    """Start a process with these settings; returns what it logs."""
    with structlog.testing.capture_logs() as logged:
        await Agreement(connections, settings, own_format=own_format).start()
    return logged


async def test_the_first_process_writes_its_format_and_its_settings(
    connections: Connections,
) -> None:
    settings = Settings(lease_s=2.5, retention_s=60, conversation_ttl_s=90, max_crashes=4)
    assert await begin(connections, settings_of_worker(settings)) == []
    assert await begin(connections, settings_of_api(settings)) == []
    assert await read_agreed(connections) == {
        "format_min": "1",
        "format_max": "2",
        "TICKERTAPE_RETENTION_S": "60",
        "TICKERTAPE_CONVERSATION_TTL_S": "90",
        "TICKERTAPE_LEASE_S": "2.5",
        "TICKERTAPE_MAX_CRASHES": "4",
    }


async def test_another_value_is_logged_with_both_and_replaces_the_agreed_one(
    connections: Connections,
) -> None:
    await begin(connections, {RETENTION: "60"})
    (line,) = await begin(connections, {RETENTION: "90"})
    assert line["log_level"] == "warning"
    assert (line["event"], line["setting"]) == ("a setting differs", RETENTION)
    assert (line["here"], line["agreed"]) == ("90", "60")
    assert "restart them with this one" in line["advice"]
    assert (await read_agreed(connections))[RETENTION] == "90"
    # The second process of a rolling restart.
    assert await begin(connections, {RETENTION: "90"}) == []


async def test_a_running_process_logs_once_that_another_one_was_started_with_another_value(
    connections: Connections,
) -> None:
    agreement = Agreement(connections, {RETENTION: "60"}, interval_s=0.01)
    await agreement.start()
    with structlog.testing.capture_logs() as logged:
        async with running(agreement.run()):
            await Agreement(connections, {RETENTION: "90"}).start()
            logged.clear()
            await wait_until(lambda: logged, description="the running process logs it")
            await rounds(connections)
    (line,) = logged
    assert (line["here"], line["agreed"]) == ("60", "90")
    assert "restart this one" in line["advice"]
    assert (await read_agreed(connections))[RETENTION] == "90"


async def rounds(connections: Connections) -> None:
    """Wait until the running process has compared a few times more."""

    async def calls() -> int:
        stats = await connections.ask("INFO", "commandstats")
        return int(stats["cmdstat_evalsha"]["calls"])

    before = await calls()

    async def are_more() -> bool:
        return await calls() >= before + 3

    await wait_until(are_more, description="more rounds")


async def test_a_lost_agreement_is_written_again(connections: Connections) -> None:
    agreement = Agreement(connections, {RETENTION: "60"}, interval_s=0.01)
    await agreement.start()
    before = await read_agreed(connections)
    async with running(agreement.run()):
        await connections.ask("FLUSHALL")

        async def is_back() -> bool:
            return await read_agreed(connections) == before

        await wait_until(is_back, description="the agreement to be written again")


async def test_a_release_that_cannot_read_the_data_is_refused_and_changes_nothing(
    connections: Connections,
) -> None:
    await begin(connections, {}, Format(version=3, oldest=1, reader=2))
    before = await read_agreed(connections)
    with pytest.raises(SettingsInvalid, match=r"format 2 or later, .* has format 1: start a newer"):
        await begin(connections, {RETENTION: "9"}, Format(version=1, oldest=1, reader=1))
    assert await read_agreed(connections) == before
    assert await begin(connections, {}, Format(version=2, oldest=1, reader=1)) == []
    assert await read_agreed(connections) == before


async def test_a_release_for_which_the_data_are_too_old_is_refused(
    connections: Connections,
) -> None:
    await begin(connections, {}, Format(version=1, oldest=1, reader=1))
    with pytest.raises(SettingsInvalid, match=r"have format 1, .* reads format 2 and later"):
        await begin(connections, {}, Format(version=3, oldest=2, reader=3))
    between = Format(version=2, oldest=1, reader=1)
    assert await begin(connections, {}, between) == []
    assert await begin(connections, {}, Format(version=3, oldest=2, reader=3)) == []
    assert (await read_agreed(connections))["format_min"] == "3"


async def test_a_running_process_logs_once_that_a_later_format_excludes_it(
    connections: Connections,
) -> None:
    agreement = Agreement(connections, {}, interval_s=0.01)
    await agreement.start()
    with structlog.testing.capture_logs() as logged:
        async with running(agreement.run()):
            await begin(connections, {}, Format(version=3, oldest=1, reader=3))
            await wait_until(lambda: logged, description="the running process logs it")
            await rounds(connections)
    (line,) = logged
    assert line["log_level"] == "error"
    assert "format 3 or later" in line["reason"]


async def test_an_account_without_the_right_is_denied_and_the_running_process_logs_it_once(
    connections: Connections, redis_url: str
) -> None:
    agreement = Agreement(connections, {RETENTION: "60"}, interval_s=0.01)
    await agreement.start()
    with limited_account(redis_url, *ALL, "-hmget") as poor_account:
        poor = Connections(poor_account.url)
        denied = Agreement(poor, {RETENTION: "60"}, retry_s=0.01)
        with pytest.raises(AccessDenied, match="HMGET"):
            await denied.start()
        with structlog.testing.capture_logs() as logged:
            async with running(denied.run()):
                await wait_until(lambda: logged, description="the refusal in the log")
                await rounds(connections)
        await poor.aclose()
    (line,) = logged
    assert line["task"] == "agreement"
    assert "HMGET" in line["reason"]


@pytest.mark.parametrize(
    "foreign", [("SET", "text"), ("HSET", "format_min", "text"), ("HSET", RETENTION, "\udcff")]
)
async def test_foreign_data_in_the_agreement_stop_no_process(
    connections: Connections, foreign: tuple[str, ...]
) -> None:
    command, *words = foreign
    raw = [word.encode("utf-8", "surrogateescape") for word in words]
    await connections.ask(command, connections.keys.agreement(), *raw)
    with structlog.testing.capture_logs() as logged:
        await Agreement(connections, {RETENTION: "60"}).start()
    (line,) = logged
    assert line["event"] in {"a background task failed", "a setting differs"}
    assert connections.faults.refused is None


async def test_a_task_that_was_refused_tries_again_soon(redis_url: str) -> None:
    """Until then, the process is not ready."""
    with limited_account(redis_url, *ALL) as poor_account:
        poor = Connections(poor_account.url)
        agreement = Agreement(poor, {}, interval_s=60, retry_s=0.01)
        await agreement.start()
        poor_account.allow(*ALL, "-hmget")
        async with running(agreement.run()):
            await wait_until(lambda: poor.faults.refused, description="the refusal")
            poor_account.allow(*ALL)
            await wait_until(lambda: poor.faults.refused is None, description="the next try")
        await poor.aclose()
