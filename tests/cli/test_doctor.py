"""`doctor` against real servers."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.accounts import ALL, ASKED, limited_account
from tests.support.rig import Rig
from tests.support.running_api import running_api
from tests.support.servers import ValkeyServer
from tests.support.upstream import ScriptedUpstream
from tickertape.broker.agreement import Agreement, Format
from tickertape.broker.connections import Connections
from tickertape.broker.leases import Nothing
from tickertape.cli.checks import machine, servers
from tickertape.cli.checks.examine import Place
from tickertape.cli.checks.finding import Finding, Level, Role
from tickertape.cli.inspect import doctor
from tickertape.runtime.settings import Settings, UpstreamProfile

pytestmark = pytest.mark.usefixtures("bare")


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def levels(found: list[Finding]) -> list[Level]:
    return [finding.level for finding in found]


async def test_the_embedded_server_passes(own_redis: ValkeyServer) -> None:
    found = await servers.redis(Settings(redis_url=own_redis.url, rewrite_aof_s=3600))
    assert levels(found) == [Level.OK, Level.OK]
    assert own_redis.url.split(":")[2].split("@")[0] not in "".join(map(str, found))


async def cases_of(settings: Settings, role: Role = "worker") -> list[str]:
    found = await servers.redis(settings, role)
    return [finding.case for finding in found if finding.level is Level.WARN]


async def test_a_worker_that_may_not_rewrite_what_was_erased_is_a_warning(
    own_redis: ValkeyServer,
) -> None:
    with limited_account(own_redis.url, *ALL, "-bgrewriteaof") as account:
        given = Settings(redis_url=account.url, rewrite_aof_s=60)
        assert await cases_of(given) == ["redis-rewrite"]
        # Only workers rewrite.
        assert await cases_of(given, "api") == []
    assert await cases_of(Settings(redis_url=own_redis.url, rewrite_aof_s=60)) == []


async def test_erased_texts_that_no_worker_takes_out_of_the_file_are_a_warning(
    own_redis: ValkeyServer, redis_url: str
) -> None:
    assert await cases_of(Settings(redis_url=own_redis.url)) == ["redis-erased"]
    # Without such a file, nothing of what was erased is kept.
    assert await cases_of(Settings(redis_url=redis_url)) == ["redis-aof"]


async def test_examining_a_server_changes_nothing_in_it(redis_url: str) -> None:
    await servers.redis(Settings(redis_url=redis_url))
    found = await servers.redis(Settings(redis_url=redis_url, partitions=3))
    assert Level.FAIL not in levels(found)


async def test_another_number_of_partitions_is_warned_about(redis_url: str) -> None:
    async with running_api(redis_url):
        found = await servers.redis(Settings(redis_url=redis_url, partitions=3))
    assert levels(found)[-1] is Level.WARN


async def test_a_setting_that_differs_from_the_agreed_one_is_a_warning_with_both_values(
    redis_url: str,
) -> None:
    async with running_api(redis_url, retention_s=60):
        found = await servers.redis(Settings(redis_url=redis_url, retention_s=90))
    (warning,) = [finding for finding in found if "TICKERTAPE_RETENTION_S" in finding.text]
    assert warning.level is Level.WARN
    assert "TICKERTAPE_RETENTION_S is 90" in warning.text
    assert "60" in warning.text


async def test_requests_that_need_a_newer_worker_are_a_warning(redis_url: str, worker: Rig) -> None:
    await worker.submit(format=3)
    assert isinstance(await worker.queue.claim(0, "nonce"), Nothing)
    found = await servers.redis(Settings(redis_url=redis_url))
    assert found[-1].level is Level.WARN
    assert found[-1].text == "requests that wait for workers of a later release: 1"


async def test_data_that_this_release_cannot_read_fail(redis_url: str) -> None:
    connections = Connections(redis_url)
    later = Format(version=9, oldest=1, reader=9)
    await Agreement(connections, {}, own_format=later).start()
    await connections.aclose()
    found = await servers.redis(Settings(redis_url=redis_url))
    assert levels(found)[-1] is Level.FAIL
    assert "format 9 or later" in found[-1].text


async def test_a_server_that_is_away_fails_without_its_password() -> None:
    (finding,) = await servers.redis(Settings(redis_url="redis://:hunter2@127.0.0.1:9/0"))
    assert finding.level is Level.FAIL
    assert "redis://127.0.0.1:9" in finding.text
    assert "hunter2" not in str(finding)


async def test_a_wrong_password_fails(own_redis: ValkeyServer) -> None:
    (finding,) = await servers.redis(Settings(redis_url=f"redis://:no@127.0.0.1:{own_redis.port}"))
    assert finding.level is Level.FAIL


async def test_a_rejected_account_is_not_reported_as_an_unreachable_redis(
    redis_url: str,
) -> None:
    with limited_account(redis_url, *ALL) as account:
        wrong = account.url.replace("sesame", "hunter2")
        (finding,) = await servers.redis(Settings(redis_url=wrong))
    assert finding.level is Level.FAIL
    assert "Redis refuses the login: invalid username-password pair" in finding.text
    assert "correct the account" in finding.fix
    assert "hunter2" not in str(finding)


@pytest.mark.parametrize("command", [*ASKED, "script|load"])
async def test_a_command_that_the_account_may_not_run_fails_and_is_named(
    redis_url: str, command: str
) -> None:
    with limited_account(redis_url, *ALL, f"-{command}") as account:
        await servers.redis(Settings(redis_url=account.url))
        found = await servers.redis(Settings(redis_url=account.url))
    (failed,) = (finding for finding in found if finding.level is Level.FAIL)
    assert command.replace("|", " ").lower() in failed.text.lower()


async def test_an_account_without_channels_fails(redis_url: str) -> None:
    with limited_account(redis_url, "~*", "+@all") as account:
        found = await servers.redis(Settings(redis_url=account.url))
    (failed,) = (finding for finding in found if finding.level is Level.FAIL)
    for channel in ("push:", "push:conv:", "push:worker:"):
        assert f"SPUBLISH on {{p0}}:{channel}*" in failed.text


async def test_an_account_that_may_not_ask_about_the_server_is_good_enough(redis_url: str) -> None:
    with limited_account(redis_url, *ALL, "-info") as account:
        found = await servers.redis(Settings(redis_url=account.url))
    assert levels(found) == [Level.OK, Level.WARN]
    assert "+info" in found[1].fix


async def test_without_redis_the_one_that_up_would_start_is_named() -> None:
    (finding,) = await servers.redis(Settings(redis_url=None))
    assert finding.level is Level.OK
    assert "valkey-server" in finding.text


async def test_an_upstream_that_answers_passes(upstream: ScriptedUpstream) -> None:
    found = await servers.upstream(
        Settings(openai_base_url=upstream.base_url, openai_model=upstream.models[0])
    )
    assert levels(found) == [Level.OK, Level.OK]


@pytest.mark.parametrize(("profile", "named"), [(None, "other"), ("vllm", "vllm")])
async def test_the_profile_that_an_upstream_has_is_named(
    upstream: ScriptedUpstream, profile: UpstreamProfile | None, named: str
) -> None:
    settings = Settings(openai_base_url=upstream.base_url, upstream_profile=profile)
    first, _ = await servers.upstream(settings)
    assert first.text == f"{upstream.base_url} answers; its profile is {named}"


async def test_a_wrong_key_fails_and_is_not_shown() -> None:
    async with ScriptedUpstream(api_key="right") as upstream:
        settings = Settings(
            openai_base_url=upstream.base_url, openai_api_key=SecretStr("sk-wrong-one")
        )
        (finding,) = await servers.upstream(settings)
    assert finding.level is Level.FAIL
    assert "sk-wrong-one" not in str(finding)


async def test_an_upstream_that_is_away_fails() -> None:
    (finding,) = await servers.upstream(Settings(openai_base_url="http://127.0.0.1:9/v1"))
    assert finding.level is Level.FAIL


async def test_an_upstream_without_a_list_of_models_is_a_warning(
    upstream: ScriptedUpstream,
) -> None:
    upstream.models_status = 404
    (finding,) = await servers.upstream(Settings(openai_base_url=upstream.base_url))
    assert finding.level is Level.WARN
    assert "no list of models" in finding.text


async def test_an_upstream_whose_list_of_models_cannot_be_read_fails(
    upstream: ScriptedUpstream,
) -> None:
    upstream.models_status = 500
    (finding,) = await servers.upstream(Settings(openai_base_url=upstream.base_url))
    assert finding.level is Level.FAIL


async def test_an_account_in_the_address_of_the_upstream_passes_and_is_not_shown() -> None:
    basic = "Basic bWU6c2VzYW1l"
    async with ScriptedUpstream(authorization=basic) as upstream:
        url = upstream.base_url.replace("://", "://me:sesame@")
        found = await servers.upstream(Settings(openai_base_url=url, openai_model="scripted-model"))
    assert levels(found) == [Level.OK, Level.OK]
    assert "sesame" not in "".join(map(str, found))


async def test_a_variable_that_names_no_proxy_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://me:sesame@127.0.0.1:9")
    (finding,) = await servers.upstream(Settings(openai_base_url="http://upstream.invalid/v1"))
    assert finding.level is Level.FAIL
    assert "ALL_PROXY" in finding.text
    assert "sesame" not in str(finding)


async def test_without_an_upstream_the_local_model_is_checked() -> None:
    (finding,) = await servers.upstream(Settings())
    assert finding.level is Level.OK
    assert "gguf" in finding.text


async def test_a_port_used_by_another_program_fails(
    taken_port: int,
) -> None:
    # This program never answers.
    finding = await machine.listening("127.0.0.1", taken_port, limit_s=0.1)
    assert finding.level is Level.FAIL


async def test_a_port_used_by_tickertape_passes(redis_url: str) -> None:
    async with running_api(redis_url) as api:
        finding = await machine.listening("127.0.0.1", int(api.url.rpartition(":")[2]))
    assert finding.level is Level.OK
    assert "runs at" in finding.text


@pytest.mark.parametrize(
    ("keys", "host", "level"),
    [
        (None, "127.0.0.1", Level.OK),
        (None, "0.0.0.0", Level.FAIL),
        ("a:secret-of-a-012345", "0.0.0.0", Level.OK),
        ("secret", "127.0.0.1", Level.FAIL),
    ],
)
def test_the_callers_that_may_connect_are_reported(
    keys: str | None, host: str, level: Level
) -> None:
    settings = Settings(api_keys=None if keys is None else SecretStr(keys))
    (finding,) = machine.access(settings, host)
    assert finding.level is level
    assert "secret" not in str(finding)


@pytest.mark.parametrize(("host", "is_open"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_without_keys_in_the_settings_redis_may_have_some(host: str, is_open: bool) -> None:
    (finding,) = machine.access(Settings(), host, is_open=is_open)
    assert "unless Redis has keys" in str(finding)


def test_a_wrong_role_file_fails(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_text("no heading")
    found = [*machine.roles(Settings(roles_dir=tmp_path))]
    assert {*levels(found)} == {Level.FAIL}
    assert all("bad.md" in finding.text for finding in found)


def test_a_data_directory_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert machine.data_directory(tmp_path / "data").level is Level.FAIL
    assert machine.data_directory(tmp_path / "new" / "data").level is Level.OK


def test_this_machine_has_no_problem(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert doctor.run("up", Place("127.0.0.1", 0, tmp_path)) == 0
    assert "No problem prevents a start." in capsys.readouterr().out


def test_a_wrong_setting_fails_and_ends_with_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKERTAPE_LEASE_S", "soon")
    monkeypatch.setenv("REDIS_URL", "http://:hunter2@wrong")
    assert doctor.run("up", Place("127.0.0.1", 0, tmp_path)) == 1
    told = capsys.readouterr().out
    assert "TICKERTAPE_LEASE_S" in told
    assert "Problems to fix: 2" in told
    assert "hunter2" not in told
