"""What the queue and the log cost: the same answers, from the upstream directly and through us.

The upstream writes into each delta when it sent it (one monotonic clock for all processes), so the
delay of a delta is known wherever it arrives. Rounds alternate between both ways, and every
connection is checked for missing and repeated deltas.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.e2e.deployment import Deployment
from tests.support.prompted import Plan
from tests.support.servers import prompted_upstream, valkey_server

DELTAS = 100
RATE_PER_S = 50.0
_WARM_UP = Plan(deltas=5, stamp=True)


@dataclass
class Delays:
    """In ms: from the submit to the first delta, and each delta's way to the reader."""

    first: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)


Ask = Callable[[aiohttp.ClientSession, Plan], Awaitable[Delays]]


async def measure(*, rounds: int) -> str:
    """Run all shapes and return a table in Markdown."""
    with (
        tempfile.TemporaryDirectory() as directory,
        valkey_server(append_only=True) as redis,
        prompted_upstream() as upstream_url,
    ):
        deployment = Deployment(
            Path(directory), redis_url=redis.url, upstream_url=upstream_url, OPENAI_MODEL="m"
        )
        try:
            _, api_url = await deployment.running_api()
            await deployment.running_worker()
            return await _rounds(upstream_url, api_url, rounds)
        finally:
            deployment.close()


async def _rounds(upstream_url: str, api_url: str, rounds: int) -> str:
    ways: dict[str, Ask] = {
        "direct": lambda session, plan: _direct(session, upstream_url, plan),
        "through": lambda session, plan: _through(session, api_url, plan),
    }
    lines = [
        "| at once | way | first delta p50 / p99 ms | per delta p50 / p99 ms |",
        "|---|---|---|---|",
    ]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        for ask in ways.values():
            await ask(session, _WARM_UP)
        # One at a time more often, so that there is a p99 to speak of.
        for at_once, repeats in ((1, 8 * rounds), (50, rounds)):
            delays = {name: Delays() for name in ways}
            for _ in range(repeats):
                for name, ask in ways.items():
                    await _one_round(session, ask, at_once, delays[name])
            lines += _lines(at_once, delays)
    return "\n".join(lines)


async def _one_round(
    session: aiohttp.ClientSession, ask: Ask, at_once: int, delays: Delays
) -> None:
    plan = Plan(deltas=DELTAS, rate_per_s=RATE_PER_S, stamp=True)
    for measured in await asyncio.gather(*(ask(session, plan) for _ in range(at_once))):
        assert len(measured.each) == plan.deltas, "a delta was lost or repeated"
        delays.first += measured.first
        delays.each += measured.each


def _lines(at_once: int, delays: dict[str, Delays]) -> list[str]:
    direct, through = delays["direct"], delays["through"]
    lines = []
    for name, measured in delays.items():
        first, each = _p(measured.first), _p(measured.each)
        lines.append(
            f"| {at_once} | {name} | {first[0]:.2f} / {first[1]:.2f} | "
            f"{each[0]:.2f} / {each[1]:.2f} |"
        )
    added = [
        f"**{ours - theirs:+.2f}**"
        for a, b in ((through.first, direct.first), (through.each, direct.each))
        for ours, theirs in zip(_p(a), _p(b), strict=True)
    ]
    lines.append(f"| {at_once} | **added** | {' / '.join(added[:2])} | {' / '.join(added[2:])} |")
    return lines


def _p(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


async def _direct(session: aiohttp.ClientSession, url: str, plan: Plan) -> Delays:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": plan.prompt()}]}
    started_s = time.monotonic()
    async with session.post(f"{url}/chat/completions", json=body) as response:
        return await _read(response, started_s, _text_of_chunk)


async def _through(session: aiohttp.ClientSession, url: str, plan: Plan) -> Delays:
    started_s = time.monotonic()
    async with session.post(f"{url}/chat", json={"message": plan.prompt()}) as response:
        stream_url = (await response.json())["stream_url"]
    async with session.get(url + stream_url) as response:
        return await _read(response, started_s, _text_of_event)


async def _read(
    response: aiohttp.ClientResponse, started_s: float, text_of: Callable[[bytes], str]
) -> Delays:
    delays = Delays()
    async for line in _data_lines(response):
        text = text_of(line)
        if text:
            now_s = time.monotonic()
            if not delays.first:
                delays.first.append((now_s - started_s) * 1000)
            delays.each.append((now_s - float(text)) * 1000)
    return delays


async def _data_lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = b""
    async for segment in response.content.iter_any():
        *lines, rest = (rest + segment).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                yield line[6:]


def _text_of_chunk(data: bytes) -> str:
    choices = json.loads(data)["choices"]
    return str(choices[0]["delta"].get("content") or "") if choices else ""


def _text_of_event(data: bytes) -> str:
    return str(json.loads(data).get("text") or "")
