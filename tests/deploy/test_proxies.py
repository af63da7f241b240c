"""The proxies of docs/deploy/ pass on every token at once, and lose none when an API stops."""

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from tests.deploy.conftest import KEY, NAMES, OpenFront
from tests.deploy.front import listens, program, written
from tests.e2e.curl import Curl
from tests.support.deployment import port_of
from tests.support.script import Finish, Text, Wait
from tests.support.sse import text_of
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

FIRST_TOKEN_S = 0.5
STREAMS = 20
TRIES = 10


@pytest.mark.parametrize("name", NAMES)
def test_the_program_accepts_its_file(name: str, tmp_path: Path) -> None:
    front = written(name, tmp_path)
    done = subprocess.run(
        front.check, env={"HOME": str(tmp_path)}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])]
)
async def test_the_first_token_passes_at_once_and_a_reader_resumes_behind_its_cursor(
    name: str, open_front: OpenFront, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    rest = asyncio.Event()
    upstream.script = [Text("first "), Wait(rest), Text("second"), Finish()]
    async with open_front(name) as behind:
        times_s, cursors = [], {}
        for n in range(TRIES):
            started_s = time.monotonic()
            request_id = await behind.caller.submit()
            async with behind.reading(request_id, tmp_path / f"before-{n}") as reader:
                await _shows(reader, "first ")
                times_s.append(time.monotonic() - started_s)
                cursors[request_id] = reader.events()[-1].cursor
            # The first call also opens connections, and a busy machine makes any of them slow.
            if times_s[-1] < FIRST_TOKEN_S:
                break
        assert min(times_s) < FIRST_TOKEN_S
        rest.set()
        for n, (request_id, cursor) in enumerate(cursors.items()):
            path = tmp_path / f"after-{n}"
            async with behind.reading(request_id, path, after=cursor) as reader:
                assert await reader.ended() == 0
                assert text_of(reader.events()) == "second"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_twenty_streams_share_one_connection_of_http_2(
    name: str, open_front: OpenFront, upstream: ScriptedUpstream
) -> None:
    rest = asyncio.Event()
    upstream.script = [Text("first "), Wait(rest), Text("second"), Finish()]
    async with open_front(name) as behind:
        request_id = await behind.caller.submit()
        node = await asyncio.create_subprocess_exec(
            program("node"),
            Path(__file__).with_name("streams.mjs"),
            behind.front.url,
            behind.certificate.certificate,
            KEY,
            *[f"/chat/{request_id}/stream"] * STREAMS,
            stdout=asyncio.subprocess.PIPE,
        )
        assert node.stdout is not None
        async with asyncio.timeout(20):
            assert await node.stdout.readline() == b"open\n"
            rest.set()
            bodies = json.loads(await node.stdout.readline())
            assert await node.wait() == 0
    assert len(bodies) == STREAMS
    assert len(set(bodies)) == 1
    assert "second" in bodies[0]
    assert "completed" in bodies[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_the_api_is_served_under_a_prefix(
    name: str, open_front: OpenFront, tmp_path: Path
) -> None:
    async with open_front(name, prefix="/llm") as behind:
        request_id = await behind.caller.submit()
        async with behind.reading(request_id, tmp_path / "one") as reader:
            assert await reader.ended() == 0
            assert text_of(reader.events()) == "Hello, world."
        page = await behind.caller.client.get("/", follow_redirects=True)
        assert page.status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_an_api_that_stops_at_once_loses_no_reader(
    name: str, open_front: OpenFront, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    rest = asyncio.Event()
    upstream.script = [Text("first "), Wait(rest), Text("second"), Finish()]
    async with open_front(name) as behind:
        request_id = await behind.caller.submit()
        async with behind.reading(request_id, tmp_path / "one") as reader:
            await _shows(reader, "first ")
            (first,) = [api for api in behind.apis if api.services.streams.open_streams]
            first.services.streams.drain()
            first.server.should_exit = True
            assert await reader.ended() == 0
            cursor = reader.events()[-1].cursor
        port = port_of(first.url)
        await wait_until(lambda: not listens(port), description="the API to close its port")
        rest.set()
        async with behind.reading(request_id, tmp_path / "two", after=cursor) as reader:
            assert await reader.ended() == 0
            assert text_of(reader.events()) == "second"
        upstream.script = [Text("third"), Finish()]

        async def accepts() -> bool:
            # A call on a kept connection to the API that is gone may fail. A drain announces the
            # end, and fails none; see below.
            answer = await behind.caller.client.post("/chat", json={"message": "hi"})
            return answer.status_code == 202

        await wait_until(accepts, description="the proxy to use the other API")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_an_api_that_drains_fails_no_call_and_finishes_those_that_it_has(
    name: str, open_front: OpenFront, upstream: ScriptedUpstream
) -> None:
    rest = asyncio.Event()
    for _ in range(4):
        upstream.enqueue([Text("first "), Wait(rest), Text("second"), Finish()])
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    async with open_front(name) as behind, asyncio.TaskGroup() as group:
        waiting = [
            group.create_task(behind.caller.client.post("/v1/chat/completions", json=body))
            for _ in range(4)
        ]
        await wait_until(lambda: len(upstream.calls) == 4, description="the calls to be upstream")
        drained = behind.apis[0]
        assert all(api.server.server_state.tasks for api in behind.apis)
        drained.server.handle_exit(signal.SIGTERM, None)
        submitted = 0
        while listens(port_of(drained.url)):
            await behind.caller.submit()
            submitted += 1
        for _ in range(10):
            await behind.caller.submit()
        # The proxy has sent calls all the time, not only after the port was closed.
        assert submitted > 10
        rest.set()
        for each in waiting:
            answer = await each
            assert answer.status_code == 200, answer.text
            (choice,) = answer.json()["choices"]
            assert choice["message"]["content"] == "first second"
    # No call was made twice.
    assert len(upstream.calls) <= 4 + submitted + 10


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_the_api_learns_the_address_of_the_client_and_believes_no_invented_one(
    name: str, open_front: OpenFront
) -> None:
    async with open_front(name) as behind:
        invented = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
        way = httpx2.AsyncHTTPTransport(
            verify=behind.certificate.context(), local_address="127.0.0.2"
        )
        async with httpx2.AsyncClient(transport=way, headers=behind.caller.headers) as client:
            answer = await client.get(f"{behind.front.url}/conversations", headers=invented)
            assert answer.status_code == 200
        records = await wait_until(behind.audited, description="the audit log to have the call")
        assert [record["address"] for record in records] == ["127.0.0.2"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_the_api_learns_that_a_reader_has_left_the_proxy(
    name: str, open_front: OpenFront, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    rest = asyncio.Event()
    upstream.script = [Text("first "), Wait(rest), Finish()]
    async with open_front(name) as behind:
        request_id = await behind.caller.submit()
        async with behind.reading(request_id, tmp_path / "one") as reader:
            await _shows(reader, "first ")
        await wait_until(
            lambda: not any(api.services.streams.open_streams for api in behind.apis),
            description="the API to notice that its reader has left the proxy",
        )
        rest.set()


async def _shows(reader: Curl, text: str) -> None:
    await wait_until(lambda: text_of(reader.events()) == text, description=f"curl to get {text!r}")
