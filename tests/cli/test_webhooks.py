"""`tickertape webhooks`: what it prints, what it refuses, and what it leaves in the audit log."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from tests.support.given_settings import GivenSettings
from tests.support.receiver import SECRET
from tests.support.rig import open_rig
from tickertape.broker.outbox import Fate, Outbox
from tickertape.cli.exits import CommandFailed
from tickertape.cli.inspect.webhooks import Chosen, run
from tickertape.deliver.events import event_of
from tickertape.deliver.webhooks import Webhook
from tickertape.runtime.settings import Settings

HERE = Path()
ALL = Chosen(is_all=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "webhooks.toml"
    path.write_text(f'[[receiver]]\nname = "one"\nurl = "https://a.com"\nsecret = "{SECRET}"\n')
    return path


@pytest.fixture(autouse=True)
def event_id(monkeypatch: pytest.MonkeyPatch, redis_url: str, path: Path) -> str:
    """A webhook was given up for the receivers `one` and `other`, of which the file has one."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("TICKERTAPE_WEBHOOKS", str(path))
    return asyncio.run(_one_given_up(redis_url, path))


async def _one_given_up(redis_url: str, path: Path) -> str:
    settings: Settings = GivenSettings(redis_url=redis_url, openai_model="m", webhooks=path)
    async with open_rig(redis_url, settings) as rig:
        request_id = await rig.submit(payload={"messages": ["a secret prompt"], "params": {}})
        await rig.requests.cancel(request_id, "public")
        outbox = Outbox(rig.connections, owner="d")
        collected = await outbox.collect(0, "webhooks")
        assert collected is not None
        (ended,) = collected.ended
        event = event_of(ended)
        fates = [
            Fate(ended.entry, b"", request_id, msgspec.json.encode(webhook))
            for webhook in (Webhook("one", event, 9, "status 500"), Webhook("other", event))
        ]
        await outbox.hand(0, "webhooks", fates)
        return event.id


async def waiting(redis_url: str) -> int:
    async with open_rig(redis_url) as rig:
        return (await Outbox(rig.connections).backlog(0, "webhooks")).due_again


def test_the_list_shows_why_and_neither_text_nor_address(
    event_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", Chosen(), data_dir=HERE) == 0
    one, other = capsys.readouterr().out.splitlines()
    assert one.startswith(event_id)
    assert one.endswith("one  response.cancelled  tries 9  status 500")
    assert other.endswith("tries 0  the receiver got no call, because its other calls failed")
    assert not {"secret", "a.com"} & {*one.split(), *other.split()}
    run("list", Chosen(receiver="other"), data_dir=HERE)
    assert capsys.readouterr().out.splitlines() == [other]


def test_a_retry_sends_again_what_the_file_still_has_and_a_drop_forgets_the_rest(
    event_id: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("retry", Chosen([event_id, "evt_none"]), data_dir=HERE) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{event_id}  one  is sent again",
        f"{event_id}  other  not done: TICKERTAPE_WEBHOOKS has no receiver of this name",
        "evt_none  not done: no such webhook is on the list",
    ]
    assert asyncio.run(waiting(redis_url)) == 1
    assert run("drop", ALL, data_dir=HERE) == 0
    assert capsys.readouterr().out == f"{event_id}  other  dropped\n"
    run("list", Chosen(), data_dir=HERE)
    assert capsys.readouterr().out == "No webhooks were given up.\n"


@pytest.mark.parametrize("chosen", [Chosen(), Chosen(["evt_a"], is_all=True)])
def test_a_call_that_names_nothing_or_too_much_says_what_to_write(chosen: Chosen) -> None:
    with pytest.raises(CommandFailed, match="WEBHOOK_ID"):
        run("drop", chosen, data_dir=HERE)


def test_a_webhook_that_an_operator_retries_or_drops_leaves_a_line(
    event_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    monkeypatch.setenv("TICKERTAPE_AUDIT_LOG", str(log))
    run("list", Chosen(), data_dir=HERE)
    run("retry", Chosen(is_all=True, receiver="one"), data_dir=HERE)
    run("drop", ALL, data_dir=HERE)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["method"], line["object"], line["outcome"]) for line in lines] == [
        ("webhooks list", "/webhooks", 200),
        ("webhooks retry", f"/webhooks/{event_id}/one", 200),
        ("webhooks drop", f"/webhooks/{event_id}/other", 200),
    ]
