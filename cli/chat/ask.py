"""`tickertape chat`: submit a message and type its answer. Ctrl+C cancels it on the server."""

import asyncio
import secrets
import sys
import time
from collections.abc import Mapping
from typing import Any

from tickertape.cli.chat.actions import Status
from tickertape.cli.chat.answer import type_answer
from tickertape.cli.chat.client import Client, Refused, Unreachable
from tickertape.cli.chat.client_settings import make_client
from tickertape.cli.chat.follow import Follower
from tickertape.cli.chat.interrupts import first_interrupt_calls
from tickertape.cli.chat.terminal import Terminal
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.runtime.backoff import Backoff

SUBMIT_PATIENCE_S = 30.0
CANCEL_PATIENCE_S = 10.0
_LEFT_EARLY = "the server did not answer; should it have taken the message, it goes on there"


def read_message(message: str) -> str:
    """The message of the command line, `-` for what stands on stdin. Raises CommandFailed."""
    if message == "-":
        message = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not message.strip():
        raise CommandFailed("the message is empty", Exit.USAGE)
    return message


def run(body: Mapping[str, Any], *, holds_answer: bool) -> int:
    """Submit `body`, type its answer and return the exit code. Raises CommandFailed."""
    terminal = Terminal.of_process(holds_answer=holds_answer)
    return asyncio.run(_run(body, terminal))


async def _run(body: Mapping[str, Any], terminal: Terminal) -> int:
    async with make_client() as client:
        return await chat(client, body, terminal)


async def chat(client: Client, body: Mapping[str, Any], terminal: Terminal) -> int:
    """`run` on a client and a terminal of the caller's, in the main thread."""
    interrupted = asyncio.Event()
    with first_interrupt_calls(interrupted.set):
        request_id = await _submit(client, body, terminal, interrupted)
        follower = Follower(client, request_id, tell=terminal.note)
        typing = asyncio.create_task(type_answer(follower, terminal, request_id), name="typing")
        cancelling = asyncio.create_task(
            _cancel(client, request_id, terminal, interrupted), name="cancelling"
        )
        try:
            await asyncio.wait({typing, cancelling}, return_when=asyncio.FIRST_COMPLETED)
            if cancelling.done():
                await cancelling
            return await typing
        finally:
            await _end(typing, cancelling)


async def _submit(
    client: Client, body: Mapping[str, Any], terminal: Terminal, interrupted: asyncio.Event
) -> str:
    """The request_id. A lost reply is asked for again with the same key, so nothing runs twice."""
    key = secrets.token_hex(16)
    backoff = Backoff()
    deadline_s = time.monotonic() + SUBMIT_PATIENCE_S
    has_told = False
    terminal.show(Status("sending"))
    while True:
        try:
            return await client.submit(body, key)
        except Refused as refused:
            raise CommandFailed(f"not accepted: {refused}") from None
        except Unreachable as error:
            wait_s = backoff.next_s(error.wait_s)
            if interrupted.is_set():
                raise CommandFailed(_LEFT_EARLY, Exit.INTERRUPTED) from None
            if time.monotonic() + wait_s > deadline_s:
                raise CommandFailed(f"{client.place}: {error}") from None
            if not has_told:
                has_told = True
                question = "" if error.was_answered else " Is `tickertape up` running?"
                terminal.note(f"{client.place}: {error}; trying again.{question}")
            await _wait(interrupted, wait_s)


async def _cancel(
    client: Client, request_id: str, terminal: Terminal, interrupted: asyncio.Event
) -> None:
    """Wait for Ctrl+C and then cancel the request; returns when the server says that it is over."""
    await interrupted.wait()
    terminal.note("cancelling; Ctrl+C again to leave at once")
    backoff = Backoff()
    deadline_s = time.monotonic() + CANCEL_PATIENCE_S
    while True:
        try:
            await client.cancel(request_id)
            return
        except Refused as error:
            reason = str(error)
            break
        except Unreachable as error:
            reason = str(error)
            wait_s = backoff.next_s(error.wait_s)
            if time.monotonic() + wait_s > deadline_s:
                break
            await asyncio.sleep(wait_s)
    raise CommandFailed(
        f"could not be cancelled ({reason}); it goes on: tickertape watch {request_id}",
        Exit.INTERRUPTED,
    )


async def _wait(event: asyncio.Event, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        pass


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
