"""The programs of a run whose secrets are searched for, and all that they leave behind."""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio

from tests.isolation.search import Hit, search
from tests.support.callers import Caller
from tests.support.issuer import AUDIENCE, ISSUER, Issuer
from tests.support.programs import Program, command, environment
from tests.support.prompted import Plan
from tests.support.servers import ValkeyServer
from tests.support.wait import wait_until
from tickertape.cli.serve import module_argv

_LOOK_EVERY_S = 0.05
_STARTS_WITHIN_S = 60
_COMMAND_S = 60
_ANSWER_S = 0.5
_CONNECTIONS = 48
# The variables that make Python and libraries say the most.
_VERBOSE = {
    "OPENAI_LOG": "debug",
    "HTTPX_LOG_LEVEL": "trace",
    "PYTHONASYNCIODEBUG": "1",
    "PYTHONWARNINGS": "default",
}


@dataclass
class Found:
    """What a run has shown: how often it called, how much was searched, and the hits."""

    calls: int = 0
    places: dict[str, int] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)

    def report(self) -> str:
        """The result in words."""
        searched = ", ".join(f"{name} {size:,}" for name, size in self.places.items())
        lines = [
            f"{self.calls:,} calls; searched for {', '.join(self.secrets)}",
            f"bytes searched: {searched}",
            *[f"FOUND {hit}" for hit in self.hits],
        ]
        return "\n".join([*lines, f"{len(self.hits)} hits"])


class SecretsRun:
    """The programs, their secrets, and all that they print."""

    def __init__(
        self, directory: Path, server: ValkeyServer, upstream: str, issuer: Issuer
    ) -> None:
        self.directory = directory
        self._server = server
        self._issuer = issuer
        self.programs: list[Program] = []
        self.command_lines: set[bytes] = set()
        self.places: dict[str, bytes] = {}
        self.calls = 0
        self.secrets = {
            name: f"{name.replace(' ', '')}{secrets.token_hex(12)}"
            for name in (
                "prompt", "listed key", "upstream key", "key secret", "ticket secret", "wrong key",
            )
        }  # fmt: skip
        password = server.url.partition("://")[2].rpartition("@")[0].rpartition(":")[2]
        assert password, "the server has no password"
        self.secrets["password of Redis"] = password
        self.audit_path = directory / "audit.log"
        self.settings = {
            "REDIS_URL": server.url,
            "OPENAI_BASE_URL": upstream,
            "OPENAI_API_KEY": self.secrets["upstream key"],
            "OPENAI_MODEL": "m",
            "TICKERTAPE_API_KEYS": f"acme:{self.secrets['listed key']}",
            "TICKERTAPE_KEY_SECRET": self.secrets["key secret"],
            "TICKERTAPE_TICKET_SECRET": self.secrets["ticket secret"],
            "TICKERTAPE_AUDIT_LOG": str(self.audit_path),
            "TICKERTAPE_JWT_JWKS_URL": issuer.url,
            "TICKERTAPE_JWT_ISSUER": ISSUER,
            "TICKERTAPE_JWT_AUDIENCE": AUDIENCE,
            "TICKERTAPE_TRUSTED_PROXIES": "127.0.0.1",
            "TICKERTAPE_LEASE_S": "1",
            "TICKERTAPE_MAX_CRASHES": "2",
            "TICKERTAPE_HEARTBEAT_S": "1",
            **_VERBOSE,
        }

    def start(self, name: str, *arguments: str, module: str = "failing_program") -> Program:
        """Start a program that may fail."""
        argv = module_argv(f"tests.isolation.{module}", name, *arguments)
        number = len(self.programs)
        env = environment(**self.settings)
        program = Program(f"{name}-{number}", argv, self.directory, env)
        self.programs.append(program)
        return program

    async def logged(self, program: Program, event: str) -> dict[str, Any]:
        """Wait for a record, longer than other tests do: verbose programs start slowly."""
        return (
            await wait_until(
                lambda: program.records(event),
                timeout_s=_STARTS_WITHIN_S,
                description=f"{program.name} to log {event!r}",
            )
        )[0]

    async def api(self) -> tuple[Program, str]:
        """An API process that is ready, and its URL."""
        program = self.start("api", "--port=0")
        url = f"http://127.0.0.1:{(await self.logged(program, 'listening'))['port']}"
        async with Caller(url) as caller:
            await wait_until(
                caller.is_ready, timeout_s=_STARTS_WITHIN_S, description=f"{url} is ready"
            )
        return program, url

    async def command(
        self,
        *argv: str,
        given: str = "",
        is_shown: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command of an operator to its end; `is_shown` if its output may be searched."""
        process = await asyncio.create_subprocess_exec(
            *command(*argv),
            cwd=self.directory,
            env=environment(**self.settings, **(env or {})),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_COMMAND_S):
            printed, said = await process.communicate(given.encode())
        if is_shown:
            self.places[f"tickertape {' '.join(argv)}"] = printed + said
        else:
            self.places[f"stderr of tickertape {argv[0]} {argv[1]}"] = said
        return printed.decode()

    async def watch_processes(self) -> None:
        """Gather all command lines, as `ps` shows them, until cancelled."""
        while True:
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.command_lines.add(place.read_bytes())
            await asyncio.sleep(_LOOK_EVERY_S)

    def search(self) -> Found:
        """Search everything that was gathered."""
        for program in self.programs:
            self.places[f"log of {program.name}"] = program.log_path.read_bytes()
        self.places["audit log"] = self.audit_path.read_bytes()
        self.places["ps"] = b"\n".join(self.command_lines)
        for path in self.directory.glob("core*"):
            self.places[str(path)] = path.read_bytes()
        sizes = {name: len(data) for name, data in self.places.items()}
        return Found(self.calls, sizes, [*self.secrets], search(self.secrets, self.places))

    async def redis_names(self) -> None:
        """Gather the names of keys, channels and clients."""
        async with redis.asyncio.Redis.from_url(self._server.url) as client:
            keys = [str(key) async for key in client.scan_iter(count=1000)]
            channels, clients = await client.pubsub_channels(), await client.client_list()
        self.places["names in Redis"] = f"{keys} {channels} {clients}".encode()

    def plan(self, words: str = "", **fields: Any) -> Plan:
        """An answer that repeats a secret prompt in each delta."""
        return Plan(deltas=20, tag=f"{self.secrets['prompt']} {words}", **fields)
