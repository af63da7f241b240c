"""Wrong set-ups for `doctor`, each caused for real in a set-up where all else is well."""

import asyncio
import contextlib
import io
import json
import os
import socket
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import redis

from tests.support.accounts import limited_account
from tests.support.programs import bare_environment, command, environment
from tests.support.servers import ValkeyServer, valkey_server
from tests.support.upstream import ScriptedUpstream
from tickertape.cli.checks.finding import Role
from tickertape.cli.main import main


class Stage:
    """A set-up in which all is well, until a function below makes one thing wrong.

    `env` are the variables, `folder` is the working directory, and `arguments` are those of doctor.
    """

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack) -> None:
        self.folder = folder
        self.env: dict[str, str] = {}
        self.arguments: list[str] = ["--port=0"]
        self.shell_limit: str | None = None
        self._stack = stack

    async def server(self, settings: Mapping[str, str] | None = None) -> ValkeyServer:
        """A good server of its own."""
        server = self._stack.enter_context(valkey_server(append_only=True, settings=settings))
        self.env["REDIS_URL"] = server.url
        return server

    async def admin(self) -> redis.Redis:
        """A connection to a good server, which `env` names."""
        server = await self.server()
        client: redis.Redis = self._stack.enter_context(redis.Redis.from_url(server.url))
        return client

    async def upstream(self, **options: Any) -> ScriptedUpstream:
        """An upstream, which `env` names."""
        upstream = await self._stack.enter_async_context(ScriptedUpstream(**options))
        self.env["OPENAI_BASE_URL"] = upstream.base_url
        self.env["OPENAI_MODEL"] = upstream.models[0]
        return upstream

    async def enter(self, context: contextlib.AbstractAsyncContextManager[Any]) -> Any:
        """Keep a context open until the end."""
        return await self._stack.enter_async_context(context)

    def listener(self, *, answers: bytes | None = None) -> int:
        """The port of a program that accepts connections, and says nothing or `answers`."""
        listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        if answers is not None:
            self._stack.callback(asyncio.get_running_loop().remove_reader, listener.fileno())
            listener.setblocking(False)
            asyncio.get_running_loop().add_reader(
                listener.fileno(), _answer, listener, answers, self._stack
            )
        return int(listener.getsockname()[1])

    def account(self, url: str, *rules: str) -> str:
        """The URL of an account with these rules."""
        return self._stack.enter_context(limited_account(url, *rules)).url

    def history(self, *statements: str) -> None:
        """A database of the history with these tables, which `env` names."""
        path = self.folder / "history.db"
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            for each in statements:
                connection.execute(each)
        self.env["TICKERTAPE_HISTORY_URL"] = f"sqlite:///{path}"

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """A file in the working directory."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path


def _answer(listener: socket.socket, answers: bytes, until: contextlib.AsyncExitStack) -> None:
    with contextlib.suppress(BlockingIOError):
        connection, _ = listener.accept()
        # A close with a request unread would be a reset, which may come before the answer is read.
        until.enter_context(connection)
        connection.sendall(answers)


Cause = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class WrongSetup:
    """One wrong set-up: its name for people, the case that `doctor` must find, and its cause."""

    name: str
    case: str
    cause: Cause
    role: Role = "up"
    is_slow: bool = False


class Setups(list[WrongSetup]):
    """Wrong set-ups in the order in which they were added."""

    def add(
        self, name: str, case: str, *, role: Role = "up", is_slow: bool = False
    ) -> Callable[[Cause], Cause]:
        """Add the decorated cause."""

        def add(cause: Cause) -> Cause:
            self.append(WrongSetup(name, case, cause, role, is_slow))
            return cause

        return add

    def setting(self, name: str, case: str, *, role: Role = "up", **variables: str) -> None:
        """Add a set-up that is wrong by its variables alone."""

        async def cause(stage: Stage) -> None:
            stage.env |= variables

        self.add(name, case, role=role)(cause)


@contextlib.asynccontextmanager
async def good_stage(folder: Path, good_url: str) -> AsyncIterator[Stage]:
    """A set-up in which `doctor` finds nothing, for the length of the block."""
    async with contextlib.AsyncExitStack() as stack:
        stage = Stage(folder, stack)
        stage.env |= {"REDIS_URL": good_url, "TICKERTAPE_REWRITE_AOF_S": "3600"}
        await stage.upstream()
        yield stage


def doctor(role: Role, stage: Stage) -> tuple[int, dict[str, Any]]:
    """The exit code and the report of the real command. Call it in a thread."""
    arguments = ["doctor", role, "--json", *stage.arguments]
    if stage.shell_limit is not None:
        return _limited(arguments, stage)
    output = io.StringIO()
    with (
        contextlib.chdir(stage.folder),
        patch.dict(os.environ, {**bare_environment(), **stage.env}, clear=True),
        contextlib.redirect_stdout(output),
    ):
        code = main(arguments)
    return code, json.loads(output.getvalue())


def _limited(arguments: list[str], stage: Stage) -> tuple[int, dict[str, Any]]:
    limit = ["sh", "-c", f'ulimit -n {stage.shell_limit} && exec "$@"', "sh"]
    ended = subprocess.run(
        [*limit, *command(*arguments)],
        env=environment(**stage.env),
        cwd=stage.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, json.loads(ended.stdout)


async def examined(wrong: WrongSetup, folder: Path, good_url: str) -> tuple[int, dict[str, Any]]:
    """What `doctor` says about a wrong set-up."""
    async with good_stage(folder, good_url) as stage:
        await wrong.cause(stage)
        return await asyncio.to_thread(doctor, wrong.role, stage)


def problems(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings that are not ok."""
    return [finding for finding in report["findings"] if finding["level"] != "ok"]
