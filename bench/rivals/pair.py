"""Two equal processes: the first takes prompts and generates, readers come to the second."""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import aiohttp

from bench.box import Box
from bench.peers.peer import Absent
from bench.rivals.rival import Piece
from tickertape.cli.up.spawn import spawn, stop

FOLDER = Path(__file__).parent
_BACKLOG = 4096
_STARTS_WITHIN_S = 90


class Pair:
    """The addresses and the ids of both processes."""

    def __init__(
        self, processes: Sequence[subprocess.Popen[bytes]], addresses: Sequence[str]
    ) -> None:
        self.pids = [each.pid for each in processes]
        self.writer, self.reader = addresses
        self._generator = processes[0]

    def kill(self) -> None:
        """Kill the process that generates."""
        self._generator.kill()
        self._generator.wait()
        del self.pids[0]


class Chat:
    """A system of two processes with the calls `POST /chat` and `GET /read/<name>`."""

    def __init__(self, name: str, pair: Pair) -> None:
        self.name = name
        self._pair = pair
        self.pids = pair.pids
        self.kill = pair.kill

    async def ask(self, session: aiohttp.ClientSession, prompt: str) -> str:
        """The name of a new answer."""
        async with session.post(f"{self._pair.writer}/chat", json={"prompt": prompt}) as answer:
            return str((await answer.json())["id"])

    async def open(self, session: aiohttp.ClientSession, answer: str) -> aiohttp.ClientResponse:
        """The stream of an answer."""
        return await session.get(f"{self._pair.reader}/read/{answer}")

    def pieces(self, name: str, data: str) -> Iterator[Piece]:
        """The text of a token, or the end."""
        yield Piece("completed") if name == "done" else Piece("text", json.loads(data)["text"])


def uvicorn(python: Path | str, application: str) -> Callable[[int], list[str | Path]]:
    """The command line of an application of this folder, which serves a socket that it inherits."""
    options: list[str | Path] = ["--app-dir", FOLDER, "--log-level", "warning", "--fd"]
    start: list[str | Path] = [python, "-m", "uvicorn", application, *options]
    return lambda listener: [*start, str(listener)]


@contextlib.asynccontextmanager
async def two(
    box: Box, command: Callable[[int], Sequence[str | Path]], variables: Mapping[str, str]
) -> AsyncIterator[Pair]:
    """Run two processes until the end of the block. `command` gets the descriptor of a socket.

    The second one starts when the first one answers, because both may make the same tables. Raises
    Absent if one of them does not answer.
    """
    env = {**os.environ, **variables}
    with contextlib.ExitStack() as stack:
        processes, addresses = [], []
        log = stack.enter_context((box.directory / "rivals.log").open("ab"))
        for _ in range(2):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG))
            with box.on_server_core():
                process = spawn(
                    command(listener.fileno()),
                    cwd=box.directory,
                    env=env,
                    stdout=log,
                    stderr=log,
                    pass_fds=[listener.fileno()],
                )
            stack.callback(stop, process)
            processes.append(process)
            addresses.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
            await _answers(addresses[-1])
        yield Pair(processes, addresses)


async def _answers(address: str) -> None:
    limit = aiohttp.ClientTimeout(total=_STARTS_WITHIN_S)
    try:
        async with aiohttp.ClientSession(timeout=limit) as session, session.get(address):
            pass
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Absent(f"a program did not answer at its start: {error!r}") from error
