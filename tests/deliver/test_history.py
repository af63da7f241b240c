"""The history has each request that has ended once, whatever died or was away meanwhile."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from tests.deliver.conftest import TIMING
from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, open_rig
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.broker.conversations import Conversations
from tickertape.broker.outbox import Outbox
from tickertape.broker.retention import Keep
from tickertape.broker.submission import conversation_key
from tickertape.deliver.history import HistoryWriter
from tickertape.deliver.main import run
from tickertape.history.opening import HistoryUnavailable
from tickertape.history.rows import conversation_of
from tickertape.history.store import History
from tickertape.runtime.settings import Settings


@pytest.fixture
def database(tmp_path: Path) -> Path:
    (tmp_path / "db").mkdir()
    return tmp_path / "db" / "history.db"


@pytest.fixture
def settings(redis_url: str, database: Path) -> Settings:
    return GivenSettings(
        redis_url=redis_url,
        openai_model="m",
        history_url=SecretStr(f"sqlite:///{database}"),
        retention_s=600,
    )


@pytest.fixture
async def rig(redis_url: str, settings: Settings) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, settings) as rig:
        yield rig


@pytest.fixture
async def history(settings: Settings) -> AsyncIterator[History]:
    assert settings.history_url is not None
    history = History(settings.history_url.get_secret_value())
    yield history
    await history.aclose()


@contextlib.asynccontextmanager
async def delivering(rig: Rig) -> AsyncIterator[None]:
    async with running(run(rig.settings, rig.url, timing=TIMING, lease_s=0.3)):
        yield


async def is_handed_on(rig: Rig) -> bool:
    backlog = await Outbox(rig.connections).backlog(0, "history")
    return not backlog.waiting and not backlog.held_bytes


async def all_handed_on(rig: Rig) -> None:
    await wait_until(lambda: is_handed_on(rig), description="the history has everything")


async def answered(rig: Rig, question: str, text: str, **fields: Any) -> str:
    messages = [{"role": "user", "content": question}]
    payload = {"messages": messages, "params": {}}
    request_id = await rig.begin(payload=payload, question=messages, **fields)
    await rig.type(text)
    await rig.finish(text, usage={"total_tokens": 3})
    return request_id


async def test_a_conversation_is_there_after_redis_has_lost_it(rig: Rig, history: History) -> None:
    head = {"wire": "native", "conversation_id": "c", "model": "m"}
    ids = [
        await answered(rig, f"question {n}", f"answer {n}", conversation_id="c", head=head)
        for n in range(2)
    ]
    before = await Conversations(rig.connections, rig.settings).outline("public", "c")
    async with delivering(rig):
        await all_handed_on(rig)
    await rig.connections.ask("FLUSHALL")
    found = await history.conversation("public", conversation_key("public", "c"))
    assert found is not None
    after = conversation_of(*found)
    assert [turn.request_id for turn in after.turns] == ids
    assert [turn.asked[0]["content"] for turn in after.turns] == ["question 0", "question 1"]
    assert [turn.answered for turn in after.turns] == ["answer 0", "answer 1"]
    assert (after.parents, after.summary.title) == (before.parents, before.summary.title)
    assert [turn.outline() for turn in after.path] == [turn.outline() for turn in after.turns]


async def test_a_request_without_a_conversation_is_there_with_its_prompt_and_its_end(
    rig: Rig, history: History
) -> None:
    request_id = await answered(rig, "what \0 else?", "this \0 one", head={"wire": "chat"})
    failed = await rig.begin()
    await rig.fail(code="upstream_error")
    async with delivering(rig):
        await all_handed_on(rig)
    row = await history.find("public", request_id)
    assert row is not None
    assert msgspec.json.decode(row["asked"])[0]["content"] == "what \ufffd else?"
    assert (row["answered"], row["state"], row["wire"]) == ("this \ufffd one", "completed", "chat")
    assert msgspec.json.decode(row["ending"])["finish_reason"] == "stop"
    lost = await history.find("public", failed)
    assert lost is not None
    assert msgspec.json.decode(lost["ending"])["code"] == "upstream_error"
    # What was kept for the history alone is gone.
    assert await rig.connections.ask("EXISTS", rig.connections.keys.record(request_id)) == 0


@pytest.mark.slow
async def test_while_the_database_is_away_all_waits_and_then_is_there_once(
    rig: Rig, history: History, database: Path
) -> None:
    folder = database.parent
    folder.rename(folder.with_name("away"))
    ids = {await answered(rig, "hi", f"answer {n}") for n in range(70)}
    writer = HistoryWriter(rig.connections, Outbox(rig.connections, owner="first"), history)
    with pytest.raises(HistoryUnavailable):
        await writer.round(0)
    async with delivering(rig):
        folder.with_name("away").rename(folder)
        await all_handed_on(rig)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT id FROM tickertape_requests").fetchall()
    assert {id_ for (id_,) in rows} == ids
    assert len(rows) == 70


async def test_a_process_that_died_behind_the_commit_doubles_nothing(
    rig: Rig, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await answered(rig, "hi", "answer")
    outbox = Outbox(rig.connections, owner="dying")
    writer = HistoryWriter(rig.connections, outbox, history)

    async def die(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(outbox, "hand", die)
    with pytest.raises(asyncio.CancelledError):
        await writer.round(0)
    assert await history.find("public", request_id) is not None
    async with delivering(rig):
        await all_handed_on(rig)
    assert await history.find("public", request_id) is not None


@pytest.mark.slow
async def test_what_was_erased_is_not_in_the_history_whenever_it_was_erased(
    rig: Rig, history: History
) -> None:
    early = await answered(rig, "hi", "early")
    await rig.requests.erase(early, "public")
    late = await answered(rig, "hi", "late")
    conversations = Conversations(rig.connections, rig.settings)
    head = {"wire": "native", "conversation_id": "c"}
    turn = await answered(rig, "hi", "turn", conversation_id="c", head=head)

    async def are_erased() -> bool:
        return not await rig.connections.ask("EXISTS", rig.connections.keys.erased(0))

    async with delivering(rig):
        await all_handed_on(rig)
        assert await history.find("public", early) is None
        assert await history.find("public", late) is not None
        await rig.requests.erase(late, "public")
        await conversations.forget("public", "c")
        await wait_until(are_erased, description="the history has erased them")
    for request_id in (early, late, turn):
        assert await history.find("public", request_id) is None
    assert await history.conversation("public", conversation_key("public", "c")) is None


async def test_the_history_writes_what_ended_now_and_deletes_what_ended_long_ago(
    rig: Rig, history: History, database: Path
) -> None:
    request_id = await answered(rig, "hi", "answer")
    outbox = Outbox(rig.connections, owner="one")
    await HistoryWriter(rig.connections, outbox, history, keep_days=1).round(0)
    assert await history.find("public", request_id) is not None
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE tickertape_requests SET ended_ms = ended_ms - 86400001")
    for keep_days, is_there in ((2, True), (None, True), (1, False)):
        await HistoryWriter(rig.connections, outbox, history, keep_days=keep_days).round(0)
        assert (await history.find("public", request_id) is not None) is is_there


async def test_what_a_caller_wants_kept_for_a_time_is_kept_for_that_time(
    rig: Rig, history: History
) -> None:
    request_id = await answered(rig, "hi", "short", keep=Keep(request_s=60))
    async with delivering(rig):
        await all_handed_on(rig)
    row = await history.find("public", request_id)
    assert row is not None
    assert row["expires_ms"] == row["ended_ms"] + 60_000
