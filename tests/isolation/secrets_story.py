"""A run with everything that can go wrong, after which its secrets are searched for.

Programs fail, are killed and are called with keys in odd places. Then no log, metric, status,
command line, name of a key in Redis or output of a command may have a prompt, a key or a ticket.
"""

import asyncio
import contextlib
import resource
import signal
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any

from tests.isolation import failing_program as failing
from tests.isolation.odd_places import odd_calls
from tests.isolation.secrets_run import Found, SecretsRun
from tests.support.callers import Caller
from tests.support.issuer import Issuer, running_issuer
from tests.support.programs import Program
from tests.support.raw import exchange
from tests.support.servers import prompted_upstream, valkey_server
from tests.support.up import up

_ANSWER_S = 0.5
_CONNECTIONS = 48


async def search_for_secrets(directory: Path, *, every: int = 1, leaks: bool = False) -> Found:
    """Run once, with each `every`-th odd call, and with a planted leak if `leaks`; then search."""
    with (
        valkey_server(append_only=True) as server,
        prompted_upstream() as upstream,
        running_issuer() as issuer,
    ):
        run = SecretsRun(directory, server, upstream, issuer)
        watching = asyncio.create_task(run.watch_processes(), name="ps")
        try:
            async with _programs(run) as (api, url):
                await _exercise(run, issuer, api, url, every=every, leaks=leaks)
            await _run_up(run)
        finally:
            watching.cancel()
            for program in run.programs:
                program.process.kill()
                program.process.wait()
        return run.search()


@contextlib.asynccontextmanager
async def _programs(run: SecretsRun) -> AsyncIterator[tuple[Program, str]]:
    for _ in range(2):
        await run.logged(run.start("worker"), "working")
    yield await run.api()


async def _exercise(
    run: SecretsRun, issuer: Issuer, api: Program, url: str, *, every: int, leaks: bool
) -> None:
    stored = (await run.command("keys", "add", "acme", is_shown=False)).strip()
    run.secrets["stored key"] = stored
    run.secrets["token"] = issuer.token()
    async with Caller(url, run.secrets["listed key"]) as caller:
        request_id = await caller.submit(run.plan().prompt(), conversation_id="c")
        for place in (f"/chat/{request_id}", "/conversations/c"):
            answer = await caller.client.post(f"{place}/ticket", json={"rights": "read"})
            run.secrets[f"ticket of {place.split('/')[1]}"] = answer.json()["ticket"]
        if leaks:
            await caller.submit(run.plan(failing.LEAK).prompt())
        await _call_oddly(run, url, request_id, every)
        await _fail_upstream(run, caller)
        await _fail_inside(run, caller)
        await _kill(run, caller)
        await _look(run, caller)
    await _end_process(run, api, url)


async def _call_oddly(run: SecretsRun, url: str, request_id: str, every: int) -> None:
    words = {name: run.secrets[name] for name in run.secrets if "secret" not in name}
    calls = islice(odd_calls(words, request_id), 0, None, every)

    async def send() -> None:
        for sent in calls:
            run.calls += 1
            # An address that tries wrong keys is slowed down, so each call has an address.
            address = f"X-Forwarded-For: 192.0.2.{run.calls % 250}, 198.51.{run.calls // 250}.1"
            data = sent.replace(b"\r\n", f"\r\n{address}\r\n".encode(), 1)
            with contextlib.suppress(TimeoutError, ConnectionError, AssertionError):
                async with asyncio.timeout(_ANSWER_S):
                    await exchange(url, data)

    await asyncio.gather(*(send() for _ in range(_CONNECTIONS)))


async def _fail_upstream(run: SecretsRun, caller: Caller) -> None:
    quoting = f"Bad key {run.secrets['upstream key']} for {run.secrets['prompt']}"
    plans = [
        *[run.plan(status=status, refusal=quoting) for status in (400, 401, 403, 404, 429, 500)],
        run.plan(status=503), run.plan(cut_after=3), run.plan(reset_after=3), run.plan(cut_after=0),
    ]  # fmt: skip
    bodies: list[tuple[str, dict[str, Any]]] = []
    for plan in plans:
        said = {"role": "user", "content": plan.prompt()}
        part = {"type": "text", "text": plan.prompt()}
        bodies += [
            ("/chat", {"message": plan.prompt(), "on_interruption": "fail"}),
            ("/v1/chat/completions", {"model": "m", "messages": [said], "stream": True}),
            ("/v1/responses", {"model": "m", "input": plan.prompt(), "stream": True}),
            ("/api/chat", {"id": "a", "message": {"role": "user", "parts": [part]}}),
            ("/api/gpt/get", {"message": plan.prompt()}),
        ]

    async def post(path: str, body: dict[str, Any]) -> None:
        run.calls += 1
        with contextlib.suppress(Exception):  # some wires break off
            async with asyncio.timeout(10):
                await caller.client.post(path, json=body)

    await asyncio.gather(*(post(path, body) for path, body in bodies))


async def _fail_inside(run: SecretsRun, caller: Caller) -> None:
    for place in (failing.ROUTE, failing.TASK, failing.THREAD, failing.JOB):
        await caller.client.post("/chat", json={"message": run.plan(place).prompt()})
        run.calls += 1


async def _kill(run: SecretsRun, caller: Caller) -> None:
    """SIGKILL, SIGABRT and SIGSEGV, each in the middle of an answer."""
    for number in (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV):
        request_id = await caller.submit(run.plan(rate_per_s=20).prompt())
        worker = next(
            each for each in run.programs
            if each.name.startswith("worker") and each.process.poll() is None
        )  # fmt: skip
        worker.signal(number)
        await run.logged(run.start("worker"), "working")
        async with caller.client.stream("GET", f"/chat/{request_id}/stream") as answer:
            await answer.aread()
        run.calls += 2


async def _look(run: SecretsRun, caller: Caller) -> None:
    for path in ("/metrics", "/status.json", "/healthz", "/readyz", "/status", "/openapi.json"):
        run.places[path] = (await caller.client.get(path)).content
    env = {"TICKERTAPE_URL": caller.url, "TICKERTAPE_API_KEY": run.secrets["listed key"]}
    for argv in (["doctor"], ["dead"], ["status"], ["keys", "list"], ["roles"]):
        await run.command(*argv, env=env)
    await run.command("chat", "-", given=run.plan().prompt(), is_shown=False, env=env)
    await run.redis_names()


async def _end_process(run: SecretsRun, api: Program, url: str) -> None:
    """End an API process by an exception that nobody catches."""
    async with Caller(url, run.secrets["listed key"]) as caller:
        with contextlib.suppress(Exception):  # the process ends
            await caller.client.post("/chat", json={"message": run.plan(failing.PROCESS).prompt()})
    await api.ended()


async def _run_up(run: SecretsRun) -> None:
    """`tickertape up` with a server of its own, which answers a chat."""
    settings = {name: value for name, value in run.settings.items() if name != "REDIS_URL"}
    settings["TICKERTAPE_API_KEY"] = run.secrets["listed key"]
    with up(run.directory, program=None, **settings) as running:
        # Programs are started in the main thread. The watch of `ps` goes on meanwhile.
        await asyncio.to_thread(running.wait_until_printed, "Page ")
        await asyncio.to_thread(running.chat(run.plan().prompt()).finish)
        run.calls += 1
    run.places["tickertape up"] = running.printed.encode()


def allow_cores() -> None:
    """Let crashes write what they can."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
