"""One request from submit to end, on a real Redis and a scripted upstream."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator

import pytest

from tests.support.rig import TENANT, Rig, open_rig, working
from tests.support.script import (
    Cut,
    Finish,
    Reasoning,
    Refusal,
    Role,
    Status,
    Text,
    ToolCall,
    Wait,
    answer,
    rate_limited,
)
from tests.support.servers import ValkeyServer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tests.support.whole_turns import whole_conversation
from tickertape.broker.conversations import Conversations
from tickertape.broker.fold import Answer
from tickertape.runtime.settings import Settings
from tickertape.worker.assembly import WorkerTiming


def settings_for(upstream: ScriptedUpstream, **changes: object) -> Settings:
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m", "lease_s": 1, **changes}
    return Settings.model_validate(fields)


@pytest.fixture
async def rig(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Rig]:
    settings = settings_for(upstream)
    async with open_rig(redis_url, settings) as running, working(redis_url, settings):
        yield running


def text_of(answered: Answer) -> str:
    return "".join(answered.text)


async def kinds(rig: Rig, request_id: str) -> list[str]:
    return [entry.kind for entry in await rig.entries(request_id)]


async def test_an_answer_is_typed_whole_and_ends_with_its_checksum_and_usage(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.script = answer(["Hé", "llo", " 🎉"])
    answered = await rig.ended(await rig.ask())
    assert text_of(answered) == "Héllo 🎉"
    assert answered.status == "completed"
    assert answered.end["finish_reason"] == "stop"
    assert answered.end["sha256"] == hashlib.sha256("Héllo 🎉".encode()).hexdigest()
    assert answered.end["usage"]["completion_tokens"] == 5


async def test_one_upstream_delta_is_one_entry(rig: Rig, upstream: ScriptedUpstream) -> None:
    upstream.script = answer([f"{n} " for n in range(100)])
    request_id = await rig.ask()
    await rig.ended(request_id)
    assert (await kinds(rig, request_id)).count("delta") == 100


async def test_each_kind_of_output_is_kept_separately(rig: Rig, upstream: ScriptedUpstream) -> None:
    upstream.script = [
        Role(),
        Reasoning("hm"),
        Text("a"),
        Refusal("no"),
        ToolCall("{", name="f", call_id="c1"),
        ToolCall("}"),
        Finish("tool_calls"),
    ]
    answered = await rig.ended(await rig.ask())
    snapshot = answered.snapshot()
    assert (snapshot["reasoning"], snapshot["text"], snapshot["refusal"]) == ("hm", "a", "no")
    assert snapshot["tool_calls"] == [{"index": 0, "id": "c1", "name": "f", "arguments": "{}"}]


async def test_a_rate_limit_before_any_output_is_waited_for_and_shows(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue(rate_limited("0.3"))
    request_id = await rig.ask()

    async def is_delayed() -> bool:
        return (await rig.record(request_id)).waiting is not None

    await wait_until(is_delayed, description="the request is put aside")
    record = await rig.record(request_id)
    assert record.status == "queued"
    assert record.waiting is not None
    assert record.waiting["reason"] == "upstream_rate_limited"
    assert text_of(await rig.ended(request_id)) == "Hello, world."
    assert await kinds(rig, request_id) == ["queued", "started", "started", "delta", "completed"]


async def test_an_upstream_error_before_any_output_is_tried_again(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Status(503)])
    answered = await rig.ended(await rig.ask())
    assert (answered.status, answered.n) == ("completed", 2)


async def test_an_answer_that_breaks_off_starts_over_and_the_reset_has_the_reason(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Role(), Text("half"), Cut()])
    request_id = await rig.ask()
    assert text_of(await rig.ended(request_id)) == "Hello, world."
    entries = await rig.entries(request_id)
    reset = next(entry for entry in entries if entry.kind == "reset")
    assert reset.data["reason"] == "upstream_truncated"
    assert [entry.text for entry in entries if entry.kind == "delta"] == ["half", "Hello, world."]


async def test_an_answer_that_may_not_be_redone_fails_and_keeps_its_text(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Role(), Text("half"), Cut()]
    answered = await rig.ended(await rig.ask(on_interruption="fail"))
    assert (answered.status, text_of(answered)) == ("failed", "half")
    assert answered.end["code"] == "upstream_truncated"
    assert len(upstream.calls) == 1


async def test_what_an_upstream_rejects_is_not_tried_again(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Status(400, {}, {"error": {"message": "no such model"}})]
    answered = await rig.ended(await rig.ask())
    assert answered.end == {
        "code": "upstream_rejected",
        "message": "no such model",
        "retryable": False,
    }
    assert len(upstream.calls) == 1


async def test_cancelling_closes_the_upstream_and_keeps_the_text(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Role(), Text("so far"), Wait(asyncio.Event())]
    request_id = await rig.ask()
    await rig.shows(request_id, "so far")
    assert (await rig.requests.cancel(request_id, TENANT)).status == "cancelled"
    async with asyncio.timeout(5):
        await upstream.calls[0].closed.wait()
    answered = await rig.answer(request_id)
    assert (answered.status, text_of(answered)) == ("cancelled", "so far")

    async def is_accounted() -> bool:
        return bool((await rig.record(request_id)).usage)

    await wait_until(is_accounted, description="the usage of the cancelled attempt is noted")


async def test_the_worker_goes_on_with_others_after_a_cancel(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Role(), Text("x"), Wait(asyncio.Event())])
    first = await rig.ask()
    await rig.shows(first, "x")
    await rig.requests.cancel(first, TENANT)
    assert (await rig.ended(await rig.ask())).status == "completed"


async def test_an_endless_answer_ends_as_too_long(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = settings_for(upstream, max_output_bytes=1024)
    upstream.script = [Role(), *[Text("x" * 100) for _ in range(50)], Finish()]
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings):
        answered = await rig.ended(await rig.ask())
    assert (answered.status, answered.end["code"]) == ("failed", "too_long")
    assert len(text_of(answered)) <= 1024


async def test_a_conversation_remembers_what_was_said(rig: Rig, upstream: ScriptedUpstream) -> None:
    await rig.ended(await rig.ask("first", conversation_id="c"))
    await rig.ended(await rig.ask("second", conversation_id="c"))
    assert [(m["role"], m["content"]) for m in upstream.calls[1].body["messages"]] == [
        ("user", "first"),
        ("assistant", "Hello, world."),
        ("user", "second"),
    ]


async def test_a_question_waits_for_the_answer_before_it(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.enqueue([Role(), Text("one"), Wait(gate), Finish()])
    first = await rig.ask("first", conversation_id="c")
    second = await rig.ask("second", conversation_id="c")
    await rig.shows(first, "one")
    assert (await rig.record(second)).state == "held"
    gate.set()
    await rig.ended(second)
    assert upstream.calls[1].body["messages"][1]["content"] == "one"
    conversations = Conversations(rig.connections, rig.settings)
    conversation = await whole_conversation(conversations, TENANT, "c")
    assert [turn.answered for turn in conversation.turns] == ["one", "Hello, world."]


async def test_never_more_requests_run_than_there_are_slots(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.script = [Role(), Text("x"), Wait(gate), Finish()]
    settings = settings_for(upstream)
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings, slots=2):
        ids = [await rig.ask() for _ in range(4)]
        await wait_until(lambda: len(upstream.calls) == 2, description="two slots are taken")
        for request_id in ids[:2]:
            await rig.shows(request_id, "x")
        assert len(upstream.calls) == 2
        gate.set()
        for request_id in ids:
            assert (await rig.ended(request_id)).status == "completed"


async def test_a_worker_that_is_gone_is_replaced_and_readers_see_a_reset(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = settings_for(upstream)
    upstream.enqueue([Role(), Text("lost"), Wait(asyncio.Event())])
    async with open_rig(redis_url, settings) as rig:
        async with working(redis_url, settings):
            request_id = await rig.ask()
            await rig.shows(request_id, "lost")
        async with working(redis_url, settings):
            answered = await rig.ended(request_id)
        assert text_of(answered) == "Hello, world."
        entries = await rig.entries(request_id)
        assert [e.data["reason"] for e in entries if e.kind == "reset"] == ["worker_lost"]
        assert sum(entry.is_terminal for entry in entries) == 1


async def test_a_drained_worker_releases_its_request_at_once(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = settings_for(upstream, lease_s=60)
    upstream.enqueue([Role(), Text("half"), Wait(asyncio.Event())])
    async with open_rig(redis_url, settings) as rig:
        async with working(redis_url, settings, timing=WorkerTiming(drain_grace_s=0.05)):
            request_id = await rig.ask()
            await rig.shows(request_id, "half")
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(5):
                await upstream.calls[0].closed.wait()

            async def is_back() -> bool:
                return (await rig.record(request_id)).state == "queued"

            await wait_until(is_back, description="the request is given back")
        async with working(redis_url, settings):
            answered = await rig.ended(request_id)
        assert text_of(answered) == "Hello, world."
        assert answered.n == 2


async def test_an_answer_survives_a_crash_of_redis_in_its_middle(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.script = [Role(), Text("a"), Wait(gate), Text("b"), Text("c"), Finish()]
    settings = settings_for(upstream, lease_s=5)
    async with open_rig(own_redis.url, settings) as rig, working(own_redis.url, settings):
        request_id = await rig.ask()
        await rig.shows(request_id, "a")
        own_redis.kill()
        gate.set()
        own_redis.start()
        answered = await rig.ended(request_id)
    assert text_of(answered) == "abc"
    assert answered.n == 1


async def test_entries_that_redis_lost_are_written_again_under_new_ids(
    rig: Rig, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.enqueue([Role(), Text("a"), Text("b"), Wait(gate), Text("c"), Finish()])
    request_id = await rig.ask()
    await rig.shows(request_id, "ab")
    lost = (await rig.entries(request_id))[-1].cursor
    key, log = f"{{p0}}:req:{request_id}", f"{{p0}}:log:{request_id}"
    await rig.connections.ask("XDEL", log, str(lost))
    await rig.connections.ask("HSET", key, "seq", lost.seq - 1)
    gate.set()
    answered = await rig.ended(request_id)
    assert text_of(answered) == "Hello, world."
    cursors = [entry.cursor for entry in await rig.entries(request_id)]
    assert lost not in cursors
    assert cursors == sorted(cursors)
