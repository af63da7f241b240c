"""`tickertape chat`: submits a message and prints the answer. Ctrl+C cancels the request."""

import asyncio
import secrets
import sys
import time
from collections.abc import Mapping
from typing import Any

from tickertape.cli.chat.actions import Progress
from tickertape.cli.chat.answer import print_answer
from tickertape.cli.chat.client import ApiUnreachable, CallRefused, Client
from tickertape.cli.chat.client_settings import make_client
from tickertape.cli.chat.follow import Follower
from tickertape.cli.chat.terminal import Terminal
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.signals import first_interrupt_calls
from tickertape.runtime.backoff import Backoff
from tickertape.runtime.wait import wait_at_most

SUBMIT_PATIENCE_S = 30.0
CANCEL_PATIENCE_S = 10.0
_LEFT_EARLY = "the server did not answer; if it accepted the message, the request continues there"


def read_message(message: str) -> str:
    """The message, read from stdin if it is `-`. Raises CommandFailed if it is empty."""
    if message == "-":
        message = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not message.strip():
        raise CommandFailed("the message is empty", Exit.USAGE)
    return message


def run(body: Mapping[str, Any], *, buffers_answer: bool) -> int:
    """Submit `body`, print the answer and return the exit code. Raises CommandFailed."""
    terminal = Terminal.of_process(buffers_answer=buffers_answer)
    return asyncio.run(_run(body, terminal))


async def _run(body: Mapping[str, Any], terminal: Terminal) -> int:
    async with make_client() as client:
        return await chat(client, body, terminal)


async def chat(
    client: Client,
    body: Mapping[str, Any],
    terminal: Terminal,
    *,
    submit_patience_s: float = SUBMIT_PATIENCE_S,
) -> int:
    """Like `run`, with a given client and terminal. Call it in the main thread.

    A cancellation ends this call, not the request.
    """
    interrupted = asyncio.Event()
    with first_interrupt_calls(interrupted.set):
        request_id = await _submit(client, body, terminal, interrupted, submit_patience_s)
        follower = Follower(client, request_id, notify=terminal.note)
        printing = asyncio.create_task(
            print_answer(follower, terminal, request_id), name="printing"
        )
        cancelling = asyncio.create_task(
            _cancel(client, request_id, terminal, interrupted), name="cancelling"
        )
        try:
            await asyncio.wait({printing, cancelling}, return_when=asyncio.FIRST_COMPLETED)
            if cancelling.done():
                await cancelling
            return await printing
        finally:
            await _end(printing, cancelling)


async def _submit(
    client: Client,
    body: Mapping[str, Any],
    terminal: Terminal,
    interrupted: asyncio.Event,
    patience_s: float,
) -> str:
    """The request_id. All tries use one idempotency key, so the message runs at most once."""
    key = secrets.token_hex(16)
    backoff = Backoff()
    deadline_s = time.monotonic() + patience_s
    has_notified = False
    terminal.show(Progress("sending"))
    while True:
        try:
            return await client.submit(body, key)
        except CallRefused as refused:
            raise CommandFailed(f"the server rejected the message: {refused}") from None
        except ApiUnreachable as error:
            wait_s = backoff.next_s(error.wait_s)
            if interrupted.is_set():
                raise CommandFailed(_LEFT_EARLY, Exit.INTERRUPTED) from None
            if time.monotonic() + wait_s > deadline_s:
                raise CommandFailed(f"{client.display_url}: {error}") from None
            if not has_notified:
                has_notified = True
                hint = "" if error.has_response else " Is `tickertape up` running?"
                terminal.note(f"{client.display_url}: {error}; retrying.{hint}")
            await wait_at_most(interrupted, wait_s)


async def _cancel(
    client: Client, request_id: str, terminal: Terminal, interrupted: asyncio.Event
) -> None:
    """Wait for Ctrl+C, then cancel the request. Returns when the server confirms that it ended."""
    await interrupted.wait()
    terminal.note("cancelling; press Ctrl+C again to quit at once")
    backoff = Backoff()
    deadline_s = time.monotonic() + CANCEL_PATIENCE_S
    while True:
        try:
            await client.cancel(request_id)
            return
        except CallRefused as error:
            reason = str(error)
            break
        except ApiUnreachable as error:
            reason = str(error)
            wait_s = backoff.next_s(error.wait_s)
            if time.monotonic() + wait_s > deadline_s:
                break
            await asyncio.sleep(wait_s)
    raise CommandFailed(
        f"the request could not be cancelled ({reason}). To follow it:"
        f" tickertape watch {request_id}",
        Exit.INTERRUPTED,
    )


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
