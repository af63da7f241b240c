"""The two clients against the real API: they submit, follow, resume, cancel and list."""

import asyncio
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import tickertape
from tests.support.proxy import FaultProxy
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.tls import make_certificates
from tests.support.wait import wait_until
from tickertape.client import (
    AnswerIncomplete,
    AnswerRestarted,
    ApiUnreachable,
    AsyncAnswer,
    AsyncClient,
    CallRefused,
    Client,
    Event,
    Timing,
)
from tickertape.runtime.settings import Settings


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, heartbeat_s=0.2, openai_model="a-model") as running:
        yield running


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, Settings(openai_model="a-model")) as running:
        yield running


@pytest.fixture
async def client(api: RunningApi) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(api.url) as running:
        yield running


async def answered(client: AsyncClient, worker: Rig, *pieces: str, **options: str) -> AsyncAnswer:
    """The answer of a request that a worker has completed with these pieces."""
    answer = await client.submit("hi", **options)  # type: ignore[arg-type]  # options of a test
    assert await worker.claim() == answer.request_id
    await worker.type(*pieces)
    await worker.finish("".join(pieces))
    return answer


async def test_the_text_of_an_answer_arrives_piece_by_piece(
    client: AsyncClient, worker: Rig
) -> None:
    answer = await answered(client, worker, "Hel", "lo")
    assert "".join([piece async for piece in answer.text]) == "Hello"
    whole = await answer.wait()
    assert (whole.request_id, whole.text, whole.finish_reason) == (
        answer.request_id,
        "Hello",
        "stop",
    )


async def test_events_are_read_behind_a_cursor(client: AsyncClient, worker: Rig) -> None:
    answer = await answered(client, worker, "one", "two", "three")
    async with answer.events() as events:
        seen = [event async for event in events if event.kind == "delta"]
    later = [event async for event in client.follow(answer.request_id, after=seen[0].cursor)]
    assert [event.text for event in later if event.kind == "delta"] == ["two", "three"]
    assert later[-1].is_end


async def test_a_broken_connection_does_not_show_in_the_text(api: RunningApi, worker: Rig) -> None:
    async with (
        FaultProxy(int(api.url.rpartition(":")[2])) as proxy,
        AsyncClient(f"http://127.0.0.1:{proxy.port}") as client,
    ):
        answer = await client.submit("hi")
        await worker.claim()
        await worker.type("before ")
        text = answer.text
        assert await anext(text) == "before "
        proxy.reset_all()
        await worker.type("after")
        await worker.finish()
        assert [piece async for piece in text] == ["after"]


async def test_a_silent_connection_is_replaced(api: RunningApi, worker: Rig) -> None:
    timing = Timing(silence_s=0.5)
    async with (
        FaultProxy(int(api.url.rpartition(":")[2])) as proxy,
        AsyncClient(f"http://127.0.0.1:{proxy.port}", timing=timing) as client,
    ):
        answer = await client.submit("hi")
        await worker.claim()
        await worker.type("before ")
        text = answer.text
        assert await anext(text) == "before "
        proxy.is_blackhole = True
        await worker.type("after")
        await worker.finish()
        rest = asyncio.create_task(_rest(text))
        before = proxy.connection_count
        await wait_until(
            lambda: proxy.connection_count > before, description="the client reconnects"
        )
        proxy.is_blackhole = False
        assert await rest == "after"


async def _rest(text: AsyncIterator[str]) -> str:
    return "".join([piece async for piece in text])


async def test_text_that_would_have_to_be_taken_back_is_an_error(
    client: AsyncClient, worker: Rig
) -> None:
    answer = await client.submit("hi")
    await worker.claim()
    await worker.type("wro")
    await worker.reopen()
    await worker.type("right")
    await worker.finish()
    with pytest.raises(AnswerRestarted, match="starts over"):
        await _rest(answer.text)
    assert (await answer.wait()).text == "right"


async def test_an_answer_that_fails_is_an_error_with_its_code(
    client: AsyncClient, worker: Rig
) -> None:
    answer = await client.submit("hi")
    await worker.claim()
    await worker.type("half")
    await worker.fail("upstream_error", "It failed.")
    with pytest.raises(AnswerIncomplete, match=r"It failed\.") as failed:
        await answer.wait()
    assert (failed.value.status, failed.value.code) == ("failed", "upstream_error")
    assert failed.value.text == "half"
    assert (await answer.get()).status == "failed"


async def test_a_cancelled_answer_does_not_pass_for_a_whole_one(
    client: AsyncClient, worker: Rig
) -> None:
    answer = await client.submit("hi")
    await worker.claim()
    await worker.type("half")
    assert await answer.cancel() == "cancelled"
    with pytest.raises(AnswerIncomplete, match="cancelled"):
        await _rest(answer.text)


async def test_a_conversation_is_followed_across_its_requests(
    client: AsyncClient, worker: Rig
) -> None:
    first = await answered(client, worker, "one", conversation_id="c1")
    second = first
    texts: list[tuple[str | None, str]] = []
    async with client.follow_conversation("c1") as events:
        async for event in events:
            texts += [(event.request_id, event.text)] if event.kind == "delta" else []
            if event.is_end and len(texts) == 1:
                second = await answered(client, worker, "two", conversation_id="c1")
            elif event.is_end:
                break
    assert texts == [(first.request_id, "one"), (second.request_id, "two")]
    conversation = await client.conversation("c1")
    assert [turn.answered for turn in conversation.turns] == ["one", "two"]


async def test_conversations_are_searched_renamed_paged_and_erased(
    client: AsyncClient, worker: Rig
) -> None:
    first = await answered(client, worker, "one", conversation_id="a~b:c")
    second = await answered(client, worker, "two", conversation_id="a~b:c")
    await client.rename_conversation("a~b:c", "Rome")
    [found] = (await client.conversations(query="ROME")).conversations
    assert (found.conversation_id, found.title) == ("a~b:c", "Rome")
    assert (await client.conversations(query="Paris")).conversations == []
    newest = await client.conversation("a~b:c", limit=1)
    assert [turn.request_id for turn in newest.turns] == [second.request_id]
    rest = await client.conversation("a~b:c", before=newest.before)
    assert [turn.request_id for turn in rest.turns] == [first.request_id]
    await client.delete_turn("a~b:c", first.request_id)
    assert [turn.answered for turn in (await client.conversation("a~b:c")).turns] == ["two"]
    await client.delete_conversation("a~b:c")
    assert (await client.conversations()).conversations == []


async def test_a_submit_with_the_same_key_is_the_same_request(client: AsyncClient) -> None:
    first = await client.submit("hi", idempotency_key="k")
    second = await client.submit("hi", idempotency_key="k")
    assert first.request_id == second.request_id


async def test_roles_and_requests_are_listed(client: AsyncClient) -> None:
    answer = await client.submit([{"role": "user", "content": "hi"}], role="cli")
    page = await client.requests()
    assert [(found.request_id, found.role) for found in page.requests] == [
        (answer.request_id, "cli")
    ]
    assert "cli" in [role.name for role in await client.roles()]
    assert (await client.role("cli")).messages


async def test_a_refused_call_has_the_status_and_the_code(client: AsyncClient) -> None:
    with pytest.raises(CallRefused, match="nobody") as refused:
        await client.submit("hi", role="nobody")
    assert refused.value.status == 404
    assert refused.value.code is not None


async def test_an_api_that_is_away_is_reported_after_the_first_patience() -> None:
    async with AsyncClient("http://127.0.0.1:9", timing=Timing(first_patience_s=0.2)) as client:
        with pytest.raises(ApiUnreachable, match="Connection refused") as failed:
            await client.submit("hi")
        assert not failed.value.was_reached


async def test_a_certificate_that_is_not_trusted_is_named_and_a_missing_one_too(
    api: RunningApi, tmp_path: Path
) -> None:
    make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "redis.crt", tmp_path / "redis.key")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", ssl=context)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncClient(url, timing=Timing(first_patience_s=0.05)) as client:
            with pytest.raises(CallRefused, match=r"certificate of https.*unable to get local"):
                await client.submit("hi")
    async with AsyncClient(
        api.url.replace("http:", "https:"), timing=Timing(first_patience_s=0.05)
    ) as client:
        with pytest.raises(ApiUnreachable, match=r"no TLS connection.*http://"):
            await client.submit("hi")


async def test_the_synchronous_client_does_the_same(api: RunningApi, worker: Rig) -> None:
    submitted: list[str] = []

    def program() -> tuple[str, str, list[Event]]:
        with tickertape.Client(api.url) as client:
            answer = client.submit("hi", conversation_id="c2")
            submitted.append(answer.request_id)
            text = "".join(answer.text)
            with client.follow(answer.request_id) as events:
                seen = list(events)
            assert client.get(answer.request_id).text == text
            assert [role.name for role in client.roles()]
            return text, answer.wait().text, seen

    running = asyncio.create_task(asyncio.to_thread(program))
    await wait_until(lambda: submitted or running.done(), description="the program submits")
    await worker.claim()
    await worker.type("Hel", "lo")
    await worker.finish("Hello")
    text, waited, seen = await running
    assert (text, waited) == ("Hello", "Hello")
    assert seen[-1].kind == "completed"


async def test_the_synchronous_client_names_the_other_one_inside_an_event_loop(
    api: RunningApi,
) -> None:
    client = Client(api.url)
    with pytest.raises(RuntimeError, match=r"use tickertape\.AsyncClient"):
        client.get("r0_x")
    await asyncio.to_thread(client.close)


async def test_ctrl_c_ends_a_synchronous_call(api: RunningApi) -> None:
    script = (
        "import sys, tickertape\n"
        f"with tickertape.Client({api.url!r}) as client:\n"
        "    answer = client.submit('hi')\n"
        "    try:\n"
        "        print(answer.request_id, flush=True)\n"
        "        list(answer.text)\n"
        "    except KeyboardInterrupt:\n"
        "        print(answer.get().status, flush=True)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert await process.stdout.readline() == b"queued\n"
    assert await process.wait() == 0


def test_a_synchronous_client_that_was_closed_says_so() -> None:
    client = tickertape.Client("http://127.0.0.1:9")
    client.close()
    client.close()
    for call in (client.models, client.requests):
        with pytest.raises(RuntimeError, match="this client is closed"):
            call()


def test_importing_the_package_does_not_import_its_clients() -> None:
    script = "import tickertape, sys; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
