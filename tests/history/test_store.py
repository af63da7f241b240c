"""The database of the history: what is written twice is there once, and what is erased stays so."""

import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import postgres_server
from tickertape.broker.errors import SettingsInvalid
from tickertape.history import deleting
from tickertape.history.opening import HistoryUnavailable
from tickertape.history.rows import Written, conversation_of
from tickertape.history.store import History

HOUR_MS = 3_600_000


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[History]:
    history = History(f"sqlite:///{tmp_path}/history.db")
    yield history
    await history.aclose()


def row(id_: str = "a", at_ms: int = 1, *, key: str = "k", **columns: Any) -> Written:
    request = {
        "id": id_, "principal": "t", "conversation_key": key, "place": f"{at_ms}-0",
        "created_ms": at_ms, "ended_ms": at_ms + 1, "state": "completed", "model": "m",
        "wire": "native", "asked": '[{"role":"user","content":"hi"}]', "links": "",
        "metadata": "{}", "answered": f"answer {id_}", "reasoning": "", "calls": "[]",
        "ending": "{}", "usage": "{}", "expires_ms": None,
    }  # fmt: skip
    conversation = {
        "key": key, "principal": "t", "id": f"talk {key}", "title": f"title {id_}", "title_of": id_,
        "options": "{}", "created_ms": at_ms, "updated_ms": at_ms, "expires_ms": None,
    }  # fmt: skip
    named = {name: value for name, value in columns.items() if name in request}
    of_talk = {name: value for name, value in columns.items() if name in conversation}
    return Written(request | named, conversation | of_talk if key else None)


def connected(history: History) -> sqlite3.Connection:
    assert history.file is not None
    return sqlite3.connect(history.file)


@pytest.mark.parametrize("is_known", [True, False])
async def test_tables_of_a_later_release_are_neither_read_nor_written(
    is_known: bool, tmp_path: Path
) -> None:
    first = History(f"sqlite:///{tmp_path}/history.db")
    await first.write([row("a")])
    with contextlib.closing(connected(first)) as connection, connection:
        connection.execute("INSERT INTO tickertape_schema VALUES (7)")
        connection.execute("DROP TABLE tickertape_erased")
    reopened = first if is_known else History(f"sqlite:///{tmp_path}/history.db")
    words = "have version 7, and this release knows 1: run the release that made them"
    for call in (reopened.write([row("b")]), reopened.find("t", "a"), reopened.check()):
        with pytest.raises(HistoryUnavailable, match=words):
            await call
    with contextlib.closing(connected(first)) as connection:
        assert connection.execute("SELECT id FROM tickertape_requests").fetchall() == [("a",)]
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        assert ("tickertape_erased",) not in tables
    for history in {first, reopened}:
        await history.aclose()


async def ids(history: History, key: str = "k") -> list[str]:
    found = await history.conversation("t", key)
    return [] if found is None else [each["id"] for each in found[1]]


async def story(history: History) -> None:
    """What the SQL of each database must do alike."""
    await history.write([row("a", 1), row("b", 2)])
    # A batch whose confirmation was lost is written again, late.
    await history.write([row("c", 3)])
    await history.write([row("a", 1, answered="another"), row("b", 2)])
    assert await ids(history) == ["a", "b", "c"]
    found = await history.conversation("t", "k")
    assert found is not None
    assert (found[0]["title"], found[0]["updated_ms"]) == ("title c", 3)
    turns = conversation_of(*found).turns
    assert [turn.answered for turn in turns] == ["answer a", "answer b", "answer c"]

    await history.erase(["c"])
    await history.write([row("c", 3)])
    assert await ids(history) == ["a", "b"]
    assert await history.find("t", "c") is None
    found = await history.conversation("t", "k")
    assert found is not None
    assert found[0]["title"] is None

    await history.write([row("d", 4, key="other"), row("e", 5, key="")])
    assert [(each["id"], count) for each, count in await history.listed("t", None)] == [
        ("talk other", 1),
        ("talk k", 2),
    ]
    assert [each["key"] for each, _ in await history.listed("t", (4, "other"))] == ["k"]
    assert await history.rename("t", "other", "new")
    assert await history.forget("t", "k") == 2
    await history.write([row("a", 1)])
    assert await history.conversation("t", "k") is None
    assert await history.forget("t", "k") == 0

    # Of another tenant, nothing is found and nothing changes.
    assert await history.listed("other", None) == []
    assert await history.conversation("other", "other") is None
    assert await history.find("other", "d") is None
    assert not await history.rename("other", "other", "x")
    assert await history.forget("other", "other") == 0
    assert await ids(history, "other") == ["d"]


async def test_sqlite_has_each_request_once_and_no_erased_one_again(history: History) -> None:
    await story(history)


async def test_what_a_caller_wants_kept_for_a_while_is_gone_after_it(history: History) -> None:
    now_ms = time.time_ns() // 1_000_000
    over, later = now_ms - 1, now_ms + HOUR_MS
    await history.write(
        [
            row("a", key="", expires_ms=over),
            row("b", key="", expires_ms=later),
            Written(row("c").request, (row("c").conversation or {}) | {"expires_ms": over}),
        ]
    )
    assert await history.find("t", "a") is None
    assert await history.conversation("t", "k") is None
    await history.drop_expired()
    assert await history.find("t", "c") is None
    assert await history.find("t", "b") is not None


async def test_what_ended_long_ago_goes_in_slices_with_its_title_and_its_conversation(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "_SLICE", 2)
    old = [row(f"a{n}", n) for n in range(3)]
    # Its conversation has the title of an old request and goes on.
    going_on = [row("b0", 3, key="on"), row("b1", 9, key="on", title="title b0", title_of="b0")]
    await history.write([*old, *going_on, row("c", 4, key="")])
    assert [await history.drop_expired(9) for _ in range(4)] == [True, True, False, False]
    assert await history.conversation("t", "k") is None
    assert await history.find("t", "c") is None
    assert await ids(history, "on") == ["b1"]
    found = await history.conversation("t", "on")
    assert found is not None
    assert found[0]["title"] is None


async def test_a_database_that_is_away_is_named_without_its_address(tmp_path: Path) -> None:
    history = History(f"sqlite:///{tmp_path}/missing/passw0rd.db")
    with pytest.raises(HistoryUnavailable, match="OperationalError") as raised:
        await history.check()
    assert "passw0rd" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "passw0rd",
        "mysql://u:passw0rd@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "oracle+x://u:passw0rd@h/d",
    ],
)
def test_an_address_of_another_kind_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="TICKERTAPE_HISTORY_URL: use sqlite") as raised:
        History(url)
    assert "passw0rd" not in str(raised.value)


@pytest.mark.slow
async def test_postgresql_does_what_sqlite_does() -> None:
    with postgres_server() as server:
        history = History(server.url)
        try:
            await story(history)
            server.stop()
            with pytest.raises(HistoryUnavailable):
                await history.check()
            server.start()
            assert await ids(history, "other") == ["d"]
        finally:
            await history.aclose()
