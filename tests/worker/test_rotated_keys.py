"""The upstream's key and account are replaced in their files while a worker runs."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.support.given_settings import GivenSettings
from tests.support.reading import PATIENT, Reading
from tests.support.rig import open_rig, working
from tests.support.script import Finish, Status, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.secret_files import SecretFile
from tickertape.worker.assembly import WorkerTiming
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import UpstreamError

OLD, NEW = "sk-old-0123456789", "sk-new-0123456789"
FAST = WorkerTiming(secret_look_s=0.01)


async def test_a_new_key_is_used_by_the_next_call_and_no_open_answer_is_cut(
    redis_url: str, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "upstream-key"
    path.write_text(f"{OLD}\n", "utf-8")
    settings = GivenSettings(
        openai_base_url=upstream.base_url, openai_api_key=SecretStr(OLD), openai_model="m"
    ).read_from({"OPENAI_API_KEY": SecretFile(path, OLD)})
    upstream.accept_keys(OLD, NEW)
    gate = asyncio.Event()
    upstream.enqueue([Text("one "), Wait(gate), Text("two"), Finish()])
    async with working(redis_url, settings, timing=FAST), open_rig(redis_url) as rig:
        long = await rig.ask()
        await rig.shows(long, "one ")
        with capture_logs() as logged:
            path.write_text(f"{NEW}\n", "utf-8")
            await wait_until(
                lambda: any(line["event"] == "a secret was replaced" for line in logged),
                description="the key is replaced",
            )
        assert NEW not in str(logged)
        # The old key ends here: a call with it would be refused.
        upstream.accept_keys(NEW)
        assert (await rig.ended(await rig.ask())).status == "completed"
        gate.set()
        answer = await rig.ended(long)
    assert (answer.status, "".join(answer.text)) == ("completed", "one two")
    assert len(upstream.calls) == 2


async def test_a_key_that_the_upstream_refuses_does_not_replace_the_one_in_use(
    upstream: ScriptedUpstream,
) -> None:
    upstream.accept_keys(OLD)
    async with Upstream(upstream.base_url, OLD) as client:
        for wrong in (NEW, "sk-two words", "sk-é"):
            with pytest.raises(SettingsInvalid) as caught:
                await client.use_key(wrong)
            assert wrong not in str(caught.value)
        reading = Reading()
        await reading.run(client, PATIENT)
        assert reading.error is None


async def test_an_upstream_that_lists_no_models_gets_the_new_key(
    upstream: ScriptedUpstream,
) -> None:
    upstream.models_status = 403
    upstream.accept_keys(OLD, NEW)
    async with Upstream(upstream.base_url, OLD) as client:
        await client.use_key(NEW)
        upstream.accept_keys(NEW)
        reading = Reading()
        await reading.run(client, PATIENT)
        assert reading.error is None


async def test_no_message_quotes_the_earlier_key(upstream: ScriptedUpstream) -> None:
    upstream.script = [Status(401, body={"error": {"message": f"{OLD[3:]} and {NEW[3:]} ended"}})]
    async with Upstream(upstream.base_url, OLD[3:]) as client:
        await client.use_key(NEW[3:])
        reading = Reading()
        await reading.run(client, PATIENT)
    assert isinstance(reading.error, UpstreamError)
    said = f"{reading.error} {reading.error.detail}"
    assert OLD[3:] not in said
    assert NEW[3:] not in said


async def test_a_new_account_in_the_address_is_used_and_another_address_is_not() -> None:
    async with ScriptedUpstream(authorization="Basic bmFtZTpuZXc=") as upstream:  # name:new
        host = upstream.base_url.removeprefix("http://")
        async with Upstream(f"http://name:old@{host}") as client:
            await client.use_account(f"http://name:new@{host}/")
            for other in ("http://name:new@127.0.0.1:1/v1", "ftp://name:new@upstream"):
                with pytest.raises(SettingsInvalid):
                    await client.use_account(other)
            assert len(await client.list_models()) == 1
