"""API processes and workers on one Redis and one upstream, and a caller of the API."""

import ssl
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.e2e.programs import Program, command
from tests.support.wait import wait_until

# Loading the system's would take longer than most of the calls.
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Deployment:
    """Starts programs with the same settings, and ends them all."""

    def __init__(
        self, directory: Path, *, redis_url: str, upstream_url: str, **settings: str
    ) -> None:
        self.programs: list[Program] = []
        self._directory = directory
        self._settings = {
            "REDIS_URL": redis_url,
            "OPENAI_BASE_URL": upstream_url,
            "OPENAI_API_KEY": "key",
            **settings,
        }

    def start(self, name: str, *arguments: str) -> Program:
        """Start `tickertape` with these arguments."""
        name = f"{name}-{len(self.programs)}"
        program = Program(name, command(*arguments), self._directory, self._settings)
        self.programs.append(program)
        return program

    def start_api(self, port: int = 0) -> Program:
        """An API process; `api_url` says where it listens."""
        return self.start("api", "api", f"--port={port}")

    def start_worker(self) -> Program:
        """A worker."""
        return self.start("worker", "worker")

    async def running_api(self, port: int = 0) -> tuple[Program, str]:
        """An API process that is ready, and its URL."""
        program = self.start_api(port)
        await program.logged("ready for requests")
        url = api_url(program)
        async with Caller(url) as caller:

            async def is_ready() -> bool:
                return (await caller.http.get("/readyz")).status_code == 200

            await wait_until(is_ready, description=f"{program.name} to be ready")
        return program, url

    async def running_worker(self) -> Program:
        """A worker that claims."""
        program = self.start_worker()
        await program.logged("working")
        return program

    def close(self) -> None:
        """End all programs. Raises AssertionError if one of them had a complaint."""
        for program in self.programs:
            program.process.terminate()
        for program in self.programs:
            program.stop()
        complaints = {program.name: program.complaints() for program in self.programs}
        assert not any(complaints.values()), complaints


def api_url(program: Program) -> str:
    """Where an API process that has logged that it listens can be called."""
    return f"http://127.0.0.1:{program.logged_sync('listening')['port']}"


def port_of(url: str) -> int:
    """The port of a URL."""
    return int(url.rpartition(":")[2])


class Caller:
    """Someone who calls the API; with a `key`, one of a tenant. An async context manager."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx2.AsyncClient(
            base_url=url, headers=self.headers, timeout=20, verify=_NO_AUTHORITIES
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.http.aclose()

    async def submit(self, message: str = "hi", **fields: Any) -> str:
        """Submit a message and return the request's id."""
        answer = await self.http.post("/chat", json={"message": message, **fields})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["request_id"])

    async def read(self, request_id: str) -> dict[str, Any]:
        """The request as it is now."""
        answer = await self.http.get(f"/chat/{request_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def cancel(self, request_id: str) -> str:
        """End the request; returns its status."""
        answer = await self.http.post(f"/chat/{request_id}/cancel")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["status"])

    def stream_url(self, request_id: str) -> str:
        """Where the request's events are."""
        return f"{self.url}/chat/{request_id}/stream"
