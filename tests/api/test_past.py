"""Conversations that Redis has no longer are read and erased in the history."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tickertape.broker.outbox import Outbox
from tickertape.deliver.history import HistoryWriter
from tickertape.history.opening import open_history
from tickertape.runtime.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "db").mkdir()
    return tmp_path / "db"


@pytest.fixture
def settings(redis_url: str, folder: Path) -> Settings:
    url = SecretStr(f"sqlite:///{folder}/history.db")
    return GivenSettings(redis_url=redis_url, openai_model="m", history_url=url)


@pytest.fixture
async def api(redis_url: str, settings: Settings) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, openai_model="m", history_url=settings.history_url) as api:
        yield api


@pytest.fixture
async def worker(redis_url: str, settings: Settings) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, settings) as rig:
        yield rig


async def say(api: RunningApi, worker: Rig, conversation_id: str, text: str) -> str:
    body = {"message": text, "conversation_id": conversation_id}
    answer = await api.client.post("/chat", json=body)
    assert answer.status_code == 202, answer.text
    assert await worker.claim() == answer.json()["request_id"]
    await worker.type(text.upper())
    await worker.finish(answered=text.upper())
    return str(answer.json()["request_id"])


async def hand_on(worker: Rig) -> None:
    """Let the history have all that has ended."""
    history = open_history(worker.settings)
    assert history is not None
    outbox = Outbox(worker.connections, owner="d")
    writer = HistoryWriter(worker.connections, outbox, history)
    while await writer.round(0):
        pass
    await history.aclose()


async def expire(worker: Rig) -> None:
    await hand_on(worker)
    await worker.connections.ask("FLUSHALL")


async def read(api: RunningApi, conversation_id: str) -> dict[str, Any]:
    answer = await api.client.get(f"/conversations/{conversation_id}")
    return {"status": answer.status_code, **answer.json()}


async def listed(api: RunningApi, **query: Any) -> tuple[list[str], str | None]:
    answer = await api.client.get("/conversations", params=query)
    assert answer.status_code == 200, answer.text
    page = answer.json()
    return [each["conversation_id"] for each in page["conversations"]], page["after"]


async def test_a_conversation_reads_the_same_after_redis_has_lost_it(
    api: RunningApi, worker: Rig
) -> None:
    for text in ("one", "two", "three"):
        await say(api, worker, "c", text)
    before = await read(api, "c")
    await expire(worker)
    assert await read(api, "c") == before
    paged = await api.client.get("/conversations/c", params={"limit": 2})
    assert [turn["answered"] for turn in paged.json()["turns"]] == ["TWO", "THREE"]
    assert (await read(api, "other"))["status"] == 404


async def test_the_list_has_each_conversation_once_wherever_it_is(
    api: RunningApi, worker: Rig
) -> None:
    for name in ("a", "b", "c"):
        await say(api, worker, name, "hi")
    await expire(worker)
    for name in ("d", "b"):
        await say(api, worker, name, "again")
    await hand_on(worker)
    assert await listed(api) == (["b", "d", "c", "a"], None)
    found, after = [], None
    for _ in range(4):
        page, after = await listed(api, limit=1, **({"after": after} if after else {}))
        found += page
    assert (found, after) == (["b", "d", "c", "a"], None)


async def test_a_conversation_of_the_history_is_renamed_and_erased(
    api: RunningApi, worker: Rig
) -> None:
    first = await say(api, worker, "c", "one")
    second = await say(api, worker, "c", "two")
    await say(api, worker, "d", "three")
    await expire(worker)
    changed = await api.client.patch("/conversations/c", json={"title": "New"})
    assert changed.json()["title"] == "New"
    assert (await api.client.delete(f"/conversations/c/turns/{first}")).status_code == 204
    assert [turn["request_id"] for turn in (await read(api, "c"))["turns"]] == [second]
    assert (await api.client.delete(f"/conversations/d/turns/{second}")).status_code == 404
    assert (await api.client.delete(f"/chat/{second}")).status_code == 204
    assert (await api.client.delete(f"/chat/{second}")).status_code == 404
    assert (await read(api, "c"))["status"] == 404
    assert (await api.client.delete("/conversations/d")).status_code == 204
    assert (await api.client.delete("/conversations/d")).status_code == 404
    assert await listed(api) == ([], None)


async def test_what_is_erased_in_redis_is_erased_in_the_history_at_once(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await say(api, worker, "c", "one")
    await say(api, worker, "d", "two")
    await hand_on(worker)
    await api.client.delete(f"/chat/{request_id}")
    await api.client.delete("/conversations/d")
    await worker.connections.ask("FLUSHALL")
    assert await listed(api) == ([], None)
    assert (await read(api, "d"))["status"] == 404


async def test_a_conversation_that_is_kept_for_a_minute_has_this_end_in_the_history_too(
    api: RunningApi, worker: Rig
) -> None:
    await say(api, worker, "c", "one")
    await hand_on(worker)
    patched = await api.client.patch("/conversations/c", json={"retention_s": 60})
    assert patched.status_code == 200
    history = open_history(worker.settings)
    assert history is not None
    ((row, _),) = await history.listed("public", None)
    await history.aclose()
    assert row["expires_ms"] == row["updated_ms"] + 60_000


async def test_while_the_database_is_away_what_redis_has_is_served(
    api: RunningApi, worker: Rig, folder: Path
) -> None:
    await say(api, worker, "c", "one")
    folder.rename(folder.with_name("away"))
    assert await listed(api) == (["c"], None)
    assert len((await read(api, "c"))["turns"]) == 1
    gone = await api.client.get("/conversations/d")
    assert (gone.status_code, gone.json()["error"]["code"]) == (503, "unavailable")
    # An erasure reaches the history later.
    request_id = (await read(api, "c"))["turns"][0]["request_id"]
    assert (await api.client.delete(f"/chat/{request_id}")).status_code == 204


async def test_the_metrics_have_what_the_history_has_not(api: RunningApi, worker: Rig) -> None:
    await say(api, worker, "c", "one")
    waiting = 'tickertape_outbox{consumer="history",state="waiting"}'
    before = (await api.client.get("/metrics")).text
    assert f"{waiting} 1.0" in before
    assert 'tickertape_outbox_held_bytes{consumer="history"} 0.0' not in before
    assert 'tickertape_outbox_lost_total{consumer="history"} 0.0' in before
    await hand_on(worker)
    after = (await api.client.get("/metrics")).text
    assert f"{waiting} 0.0" in after
    assert 'tickertape_outbox_held_bytes{consumer="history"} 0.0' in after


async def test_another_tenant_finds_nothing_in_the_history(redis_url: str, folder: Path) -> None:
    url = SecretStr(f"sqlite:///{folder}/history.db")
    keys = SecretStr("a:" + "a" * 16 + ",b:" + "b" * 16)
    settings = GivenSettings(redis_url=redis_url, openai_model="m", history_url=url, api_keys=keys)
    async with (
        running_api(redis_url, openai_model="m", history_url=url, api_keys=keys) as api,
        open_rig(redis_url, settings) as worker,
    ):
        api.client.headers["Authorization"] = "Bearer " + "a" * 16
        request_id = await say(api, worker, "c", "one")
        await expire(worker)
        assert (await listed(api))[0] == ["c"]
        api.client.headers["Authorization"] = "Bearer " + "b" * 16
        assert (await listed(api))[0] == []
        assert (await read(api, "c"))["status"] == 404
        for path in (
            f"/chat/{request_id}",
            "/conversations/c",
            f"/conversations/c/turns/{request_id}",
        ):
            assert (await api.client.delete(path)).status_code == 404
        api.client.headers["Authorization"] = "Bearer " + "a" * 16
        assert (await listed(api))[0] == ["c"]
