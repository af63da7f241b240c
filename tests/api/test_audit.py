"""The audit log: every call with a caller has one line, and no line has content or a secret."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.running_api import running_api
from tickertape.api.edge.audit import Audit, FileSink, audit_of
from tickertape.broker.errors import SettingsInvalid

KEY = "the-key-of-ada-01"
ADA = {"Authorization": f"Bearer {KEY}"}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_call_leaves_who_what_and_the_outcome_and_no_content(
    redis_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "audit.log"
    settings = {"api_keys": f"ada:{KEY},ada:a-key-that-reads-01 scopes=read"}
    async with running_api(redis_url, audit_log=str(path), **settings) as api:  # type: ignore[arg-type]  # settings
        body = {"message": "secret-prompt", "conversation_id": "c"}
        headers = {**ADA, "X-Tickertape-User": "ann"}
        made = await api.client.post("/chat", json=body, headers=headers)
        request_id = made.json()["request_id"]
        await api.client.get(f"/chat/{request_id}?x=secret-query", headers=headers)
        issued = await api.client.post(
            "/conversations/c/ticket", json={"rights": "read"}, headers=headers
        )
        ticket = issued.json()["ticket"]
        await api.client.get("/conversations/c", headers={"Authorization": f"Ticket {ticket}"})
        reads = {"Authorization": "Bearer a-key-that-reads-01"}
        await api.client.delete(f"/chat/{request_id}", headers=reads)
        await api.client.get("/chat", headers={"Authorization": "Bearer secret-wrong-key"})
        await api.client.get("/healthz")
    lines = lines_of(path)
    told = [
        (line["action"], line["object"], line["outcome"], line.get("user"), line.get("tenant"))
        for line in lines
    ]
    assert told == [
        ("submit", f"/chat/{request_id}", 202, "ann", "ada"),
        ("read", f"/chat/{request_id}", 200, "ann", "ada"),
        ("read", "/conversations/c/ticket", 200, "ann", "ada"),
        ("read", "/conversations/c", 200, "ann", "ada"),
        ("erase", f"/chat/{request_id}", 403, None, "ada"),
        ("list", "/chat", 401, None, None),
    ]
    assert [line.get("by_ticket", False) for line in lines].index(True) == 3
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    assert len({line.get("key_id") for line in lines}) == 3
    text = path.read_text()
    for secret in ("secret", KEY, ticket, "tk1_"):
        assert secret not in text


async def test_a_request_has_one_name_under_a_root_path(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    settings = {"api_keys": f"ada:{KEY}", "root_path": "/llm", "audit_log": str(path)}
    async with running_api(redis_url, **settings) as api:  # type: ignore[arg-type]  # settings
        made = await api.client.post("/llm/chat", json={"message": "hi"}, headers=ADA)
        assert (await api.client.get(made.headers["Location"], headers=ADA)).status_code == 200
    request_id = made.json()["request_id"]
    assert [line["object"] for line in lines_of(path)] == [f"/chat/{request_id}"] * 2


async def test_a_key_or_a_prompt_in_an_address_is_not_in_the_audit_log(
    redis_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "audit.log"
    issued = "tt_" + "a" * 46
    async with running_api(redis_url, api_keys=f"ada:{KEY}", audit_log=str(path)) as api:
        for word in (KEY, issued, "tk1_a.b", "eyJhbGciOiJub25lIn0.e30.", "secret-prompt"):
            for where in (f"/chat/{word}", f"/conversations/{word}", f"/{word}", f"/v1/x/{word}"):
                await api.client.get(where)
                await api.client.get(where, headers=ADA)
            where = f"/conversations/{word}/ticket" if word != "secret-prompt" else "/chat"
            headers = {**ADA, "X-Tickertape-User": word}
            await api.client.post(where, json={"rights": "read"}, headers=headers)
    text = path.read_text()
    for secret in (KEY, issued, "tk1_", "eyJ"):
        assert secret not in text
    assert "secret-prompt" not in text.replace('"user":"secret-prompt"', "")
    shown = {line["object"] for line in lines_of(path)}
    assert shown == {
        "/chat/*", "/conversations/*", "/*", "/v1/*/*", "/conversations/*/ticket", "/chat",
    }  # fmt: skip


async def test_a_stream_has_its_line_when_it_begins(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    async with running_api(redis_url, api_keys=f"ada:{KEY}", audit_log=str(path)) as api:
        request_id = (await api.client.post("/chat", json={"message": "hi"}, headers=ADA)).json()[
            "request_id"
        ]
        async with api.client.stream("GET", f"/chat/{request_id}/stream", headers=ADA):
            assert lines_of(path)[-1]["object"] == f"/chat/{request_id}/stream"


def test_a_file_that_was_moved_away_is_made_again_and_is_for_one_account(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    sink = FileSink(path)
    sink.write(b"1\n")
    path.rename(tmp_path / "audit.log.1")
    sink.write(b"2\n")
    sink.close()
    assert path.read_bytes() == b"2\n"
    assert (tmp_path / "audit.log.1").read_bytes() == b"1\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_audit_log_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="TICKERTAPE_AUDIT_LOG"):
        audit_of(str(tmp_path / "none" / "audit.log"))
    assert audit_of(None) is None
    assert isinstance(audit_of("-"), Audit)


async def test_a_call_without_any_key_has_no_line(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    async with running_api(redis_url, audit_log=str(path), api_keys=f"ada:{KEY}") as api:
        for _ in range(3):
            assert (await api.client.get(f"/chat/{'x' * 500}")).status_code == 401
        await api.client.get("/chat", headers={"Authorization": "Bearer a-wrong-key-01"})
    assert [line["outcome"] for line in lines_of(path)] == [401]
