"""Sends the cases to a real API process with keys, and looks at the process in between."""

import asyncio
import contextlib
import resource
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.faults.test_floods import resident_mib
from tests.fuzz.answers import answers_in, faults_of
from tests.fuzz.cases import Case, Setting, case
from tests.support.callers import Caller
from tests.support.programs import Program, environment
from tests.support.servers import valkey_server
from tests.support.wait import wait_until
from tickertape.cli.serve import module_argv

KEY, FOREIGN_KEY = "fuzz-key-of-tenant-one", "fuzz-key-of-tenant-two"
FOREIGN_TEXT = "a secret of tenant two"
_CONNECTIONS = 32
_EVERY = 1000
_MOST_MIB = 48.0
_MOST_HEALTH_S = 1.0
_IDLE_S = 0.02
_ANSWER_S = 10.0
_WAITING_S = 0.3
# Calls that wait for an answer that nobody generates, and streams.
_WAITING = (b"/v1/", b"/api/", b"stream", b"100-continue")
_MOST_LOG_BYTES = 200_000


@dataclass
class Verdict:
    """What a run has shown."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Case] = field(default_factory=dict)
    before_mib: float = 0
    most_mib: float = 0
    health_s: float = 0
    took_s: float = 0

    def add(self, fault: str, example: Case | None = None) -> None:
        """Count a fault, with its first example."""
        self.faults[fault] += 1
        if example is not None:
            self.examples.setdefault(fault, example)

    def report(self) -> str:
        """The result in words."""
        lines = [
            f"{self.sent:,} cases in {self.took_s:.0f} s, {self.sent / (self.took_s or 1):.0f}/s",
            "statuses " + ", ".join(f"{s}: {n:,}" for s, n in sorted(self.statuses.items())),
            f"memory {self.before_mib:.0f} MiB, at most {self.most_mib - self.before_mib:+.0f} MiB",
            f"/healthz at most {self.health_s * 1000:.0f} ms",
        ]
        for fault, count in self.faults.most_common(20):
            example = self.examples.get(fault)
            lines.append(f"BROKEN {count} times: {fault}")
            if example is not None:
                lines.append(f"  case {example.number} ({example.kind}): {example.sent[:300]!r}")
        return "\n".join([*lines, "as documented" if not self.faults else "NOT as documented"])


async def fuzz(count: int, seed: int, directory: Path, *, is_safe: bool = True) -> Verdict:
    """Send `count` cases; without `is_safe` to an API whose server has no bounds and a defect."""
    with valkey_server() as redis:
        program = _start(redis.url, directory, is_safe=is_safe)
        try:
            port = (await program.logged("listening"))["port"]
            run = _Run(f"http://127.0.0.1:{port}", program)
            await run.prepare()
            await run.send(count, seed)
        finally:
            program.stop()
    run.judge_log()
    return run.verdict


def _start(redis_url: str, directory: Path, *, is_safe: bool) -> Program:
    module = "tickertape.cli.main" if is_safe else "tests.fuzz.unsafe_api"
    variables = environment(
        REDIS_URL=redis_url,
        OPENAI_API_KEY="key",
        OPENAI_MODEL="a-model",
        TICKERTAPE_API_KEYS=f"one:{KEY},two:{FOREIGN_KEY}",
        TICKERTAPE_HEAD_S="0.5",
        TICKERTAPE_BODY_STALL_S="0.5",
        TICKERTAPE_MAX_BODY_BYTES="1000000",
    )
    return Program("api", module_argv(module, "api", "--port=0"), directory, variables)


class _Run:
    def __init__(self, url: str, program: Program) -> None:
        self.verdict = Verdict()
        self._url = url
        self._address = urlsplit(url)
        self._program = program
        self._setting = Setting(KEY, "", "")

    async def prepare(self) -> None:
        """Submit a request of each tenant, and warm the process up."""
        async with Caller(self._url, KEY) as own, Caller(self._url, FOREIGN_KEY) as other:
            await wait_until(own.is_ready, description="the API is ready")
            mine = await own.submit("mine")
            foreign = await other.submit(FOREIGN_TEXT, conversation_id="theirs")
        self._setting = Setting(KEY, mine, foreign)

    async def send(self, count: int, seed: int) -> None:
        """Send the cases, from several connections at a time."""
        began_s = time.monotonic()
        numbers = iter(range(count))
        async with asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS):
                group.create_task(self._work(numbers, seed))
        self.verdict.took_s = time.monotonic() - began_s
        await self._look()

    async def _work(self, numbers: "object", seed: int) -> None:
        for number in numbers:  # type: ignore[attr-defined]
            if self._program.process.poll() is not None:
                self.verdict.add("the process has ended")
                return
            await self._try(case(seed, number, self._setting))
            self.verdict.sent += 1
            if self.verdict.sent % _EVERY == 0:
                await self._look()

    async def _try(self, sent: Case) -> None:
        received, is_silent = await self._exchange(sent)
        for fault in faults_of(sent, received, FOREIGN_TEXT.encode()):
            self.verdict.add(fault, sent)
        for answer in answers_in(received)[0]:
            self.verdict.statuses[answer.status] += 1
        if is_silent:
            self.verdict.add("no answer", sent)

    async def _exchange(self, sent: Case) -> tuple[bytes, bool]:
        """What was received, and whether the server neither answered nor closed."""
        may_wait = any(word in sent.sent for word in _WAITING)
        received = b""
        host, port = self._address.hostname, self._address.port
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(sent.sent)
            limit_s = _WAITING_S if may_wait else _ANSWER_S
            while True:
                with contextlib.suppress(ConnectionError):
                    piece = await asyncio.wait_for(reader.read(262_144), limit_s)
                    received += piece
                    if piece:
                        limit_s = _IDLE_S if answers_in(received)[0] else limit_s
                        continue
                return received, False
        except TimeoutError:
            return received, not received and not may_wait
        finally:
            writer.transport.abort()

    async def _look(self) -> None:
        """Measure the process."""
        verdict = self.verdict
        began_s = time.monotonic()
        async with Caller(self._url) as caller:
            if (await caller.client.get("/healthz")).status_code != 200:
                verdict.add("/healthz is not 200")
        health_s = time.monotonic() - began_s
        verdict.health_s = max(verdict.health_s, health_s)
        if health_s > _MOST_HEALTH_S:
            verdict.add(f"/healthz took more than {_MOST_HEALTH_S} s")
        now_mib = resident_mib(self._program.process.pid)
        if not verdict.before_mib:
            verdict.before_mib = now_mib
        verdict.most_mib = max(verdict.most_mib, now_mib)
        if now_mib - verdict.before_mib > _MOST_MIB:
            verdict.add(f"more than {_MOST_MIB:.0f} MiB more memory")

    def judge_log(self) -> None:
        """Look for defects, keys and floods in the log."""
        printed = self._program.printed
        for word in (KEY, FOREIGN_KEY, FOREIGN_TEXT, "request failed", "Traceback"):
            if word in printed:
                self.verdict.add(f"{word!r} is in the log")
        if len(printed) > _MOST_LOG_BYTES:
            self.verdict.add(f"a log of more than {_MOST_LOG_BYTES} bytes")


def allow_many_files() -> None:
    """Raise the limit of open files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
