"""A request that kills its workers is given up, affects no other, and waits for an operator."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.keyspace import KEYS
from tests.support.programs import environment
from tests.support.rig import Rig, open_rig, working
from tests.support.upstream import ScriptedUpstream
from tickertape.broker.dead import DeadRequests
from tickertape.broker.errors import RequestMissing, TenantLimitReached, Unavailable
from tickertape.broker.leases import Lease
from tickertape.broker.queue import Queue
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.inspect import dead as dead_command
from tickertape.cli.up.data_dir import DataDir
from tickertape.runtime.settings import Settings

CRASHES = 2


@pytest.fixture
def settings(upstream: ScriptedUpstream) -> Settings:
    fields = {"openai_base_url": upstream.base_url, "lease_s": 1, "max_crashes": CRASHES}
    return Settings.model_validate(fields)


@pytest.fixture
async def rig(redis_url: str, settings: Settings) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, settings) as running:
        yield running


async def die_of(rig: Rig, request_id: str) -> None:
    """Claim the request as often as it may crash a worker, and let every lease run out."""
    queue = Queue(rig.connections, rig.settings, worker="victim")
    for crash in range(CRASHES):
        lease = await queue.claim(0, f"{request_id} {crash}")
        assert isinstance(lease, Lease)
        assert lease.request_id == request_id
        await rig.connections.ask("ZADD", KEYS.running(0), 1, request_id)
    await queue.claim(0, "reaper", take=False)


async def test_a_poison_request_fails_and_its_neighbours_do_not(
    rig: Rig, settings: Settings
) -> None:
    poison = await rig.ask("poison")
    await die_of(rig, poison)
    async with working(rig.url, settings):
        neighbours = [await rig.ask() for _ in range(3)]
        for neighbour in neighbours:
            assert (await rig.ended(neighbour)).status == "completed"
    ended = await rig.answer(poison)
    assert (ended.status, ended.end["code"]) == ("failed", "poison")
    assert not ended.end["retryable"]


async def test_a_dead_request_is_listed_and_can_be_submitted_again(
    rig: Rig, settings: Settings, upstream: ScriptedUpstream
) -> None:
    dead = DeadRequests(rig.connections, settings)
    assert await dead.listed() == []
    poison = await rig.ask("poison", on_interruption="fail", model="other-model")
    await die_of(rig, poison)
    [listed] = await dead.listed()
    assert (listed.request_id, listed.tenant, listed.can_retry) == (poison, "public", True)
    again = await dead.retry(poison)
    assert again != poison
    assert await dead.listed() == []
    async with working(rig.url, settings):
        assert (await rig.ended(again)).status == "completed"
    assert upstream.calls[0].body["messages"] == [{"role": "user", "content": "poison"}]
    assert (await rig.answer(again)).model == "other-model"
    # The prompt of the dead request is deleted then.
    stored = await rig.connections.ask("HGETALL", KEYS.request(poison))
    assert b"payload" not in stored
    assert 0 < await rig.connections.ask("TTL", KEYS.request(poison)) <= settings.retention_s


async def test_a_retry_whose_answer_was_lost_is_the_same_request(
    rig: Rig, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = await rig.ask()
    await die_of(rig, poison)
    dead = DeadRequests(rig.connections, settings)
    with monkeypatch.context() as patch:
        patch.setattr(DeadRequests, "_strike", _lose)
        with pytest.raises(Unavailable):
            await dead.retry(poison)
    waiting = await rig.connections.ask("LRANGE", f"{KEYS.tag(0)}wait:public", 0, -1)
    assert [await dead.retry(poison)] == [request_id.decode() for request_id in waiting]


async def _lose(*_: object) -> None:
    raise Unavailable


async def test_a_retry_that_is_refused_leaves_the_dead_request_where_it_is(
    rig: Rig, settings: Settings
) -> None:
    poison = await rig.ask()
    await die_of(rig, poison)
    crowded = settings.model_copy(update={"tenant_limit": 1})
    await rig.ask()
    dead = DeadRequests(rig.connections, crowded)
    with pytest.raises(TenantLimitReached):
        await dead.retry(poison)
    assert [each.can_retry for each in await dead.listed()] == [True]


async def test_a_dropped_request_leaves_nothing_behind(rig: Rig, settings: Settings) -> None:
    poison = await rig.ask()
    await die_of(rig, poison)
    dead = DeadRequests(rig.connections, settings)
    await dead.drop(poison)
    assert await dead.listed() == []
    assert await rig.connections.ask("EXISTS", KEYS.request(poison), KEYS.log(poison)) == 0
    with pytest.raises(RequestMissing, match="not among the dead"):
        await dead.drop(poison)
    with pytest.raises(RequestMissing, match="not among the dead"):
        await dead.retry("r9_unknown")


async def test_a_dead_request_whose_prompt_expired_is_shown_and_can_be_dropped(
    rig: Rig, settings: Settings
) -> None:
    poison = await rig.ask()
    await die_of(rig, poison)
    await rig.connections.ask("DEL", KEYS.request(poison))
    dead = DeadRequests(rig.connections, settings)
    assert [each.can_retry for each in await dead.listed()] == [False]
    with pytest.raises(RequestMissing, match="expired"):
        await dead.retry(poison)
    await dead.drop(poison)
    assert await dead.listed() == []


@pytest.mark.slow
async def test_an_operator_lists_retries_and_drops_dead_requests(rig: Rig, tmp_path: Path) -> None:
    async def command(*arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "tickertape.cli.main", "dead", *arguments],
            env=environment(REDIS_URL=rig.url),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    assert await command("list") == (0, "No dead requests.\n")
    first, second, third = [await rig.ask("secret words") for _ in range(3)]
    for poison in (first, second, third):
        await die_of(rig, poison)
    code, listed = await command("list")
    assert code == 0
    assert re.findall(r"r0_\S+", listed) == [first, second, third]
    assert "secret" not in listed
    code, printed = await command("retry", first, "r0_unknown")
    assert code == 1
    assert f"{first}  submitted again as r0_" in printed
    assert "r0_unknown  not done" in printed
    assert (await command("drop", second))[0] == 0
    assert (await command("retry"))[0] == Exit.USAGE
    assert (await command("drop", "--all"))[1] == f"{third}  dropped\n"
    assert await command("list") == (0, "No dead requests.\n")


def test_dead_commands_without_a_redis_url_use_the_server_of_up(
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandFailed, match="no `tickertape up` runs"):
        dead_command.run("list", [], is_all=False, data_dir=tmp_path / "none")
    home = DataDir(tmp_path / "data")
    password, _, port = redis_url.removeprefix("redis://:").partition("@127.0.0.1:")
    (home.path / "password").write_text(password)
    home.open_to_others(int(port.removesuffix("/0")))
    assert dead_command.run("list", [], is_all=False, data_dir=tmp_path / "data") == 0
    assert capsys.readouterr().out == "No dead requests.\n"


def test_an_unreachable_redis_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    with pytest.raises(CommandFailed, match="refused: start the server"):
        dead_command.run("list", [], is_all=False, data_dir=Path())
