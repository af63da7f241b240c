"""`tickertape chat MESSAGE`: prints the answer to one message. Ctrl+C cancels the request."""

import asyncio
import secrets
import sys
from typing import Any

from tickertape.cli.chat.actions import Progress
from tickertape.cli.chat.answer import print_answer
from tickertape.cli.chat.client_settings import Server, make_client
from tickertape.cli.chat.server_errors import refusal, unreachable
from tickertape.cli.chat.terminal import Terminal
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.program import program_name
from tickertape.cli.signals import first_interrupt_calls
from tickertape.client import (
    ApiUnreachable,
    AsyncAnswer,
    AsyncClient,
    CallRefused,
    TickertapeError,
)
from tickertape.client.submission import SubmitOptions

CANCEL_PATIENCE_S = 10.0
# After Ctrl+C, a submit that is under way gets so long to be accepted, and is cancelled then.
_SUBMIT_GRACE_S = 1.0
_LEFT_EARLY = "the server did not answer; if it accepted the message, the request continues there"


def run(server: Server, message: str, options: SubmitOptions, *, buffers_answer: bool) -> int:
    """Submit `message`, print the answer and return the exit code. Raises CommandFailed."""
    terminal = Terminal.of_process(buffers_answer=buffers_answer)
    return asyncio.run(_run(server, message, options, terminal))


async def _run(server: Server, message: str, options: SubmitOptions, terminal: Terminal) -> int:
    is_shown = sys.stdout.isatty() and sys.stderr.isatty()
    if is_shown and "conversation_id" not in options:
        # A person may want to continue. A program that wants to names the conversation.
        options["conversation_id"] = new_conversation_id()
    async with make_client(server, notify=terminal.note) as client:
        exit_code = await chat(client, message, options, terminal)
    if is_shown:
        print_how_to_continue(options["conversation_id"])
    return exit_code


def new_conversation_id() -> str:
    """An id that nobody can guess, short enough to be typed."""
    return secrets.token_hex(6)


def print_how_to_continue(conversation_id: str) -> None:
    """Print, on stderr, the commands that watch and continue a conversation."""
    program = program_name()
    print(
        f"Watch it from anywhere:  {program} watch {conversation_id}\n"
        f"Continue it:             {program} chat -c {conversation_id}",
        file=sys.stderr,
    )


async def chat(
    client: AsyncClient, message: str, options: SubmitOptions, terminal: Terminal
) -> int:
    """Like `run`, with a given client and terminal. Call it in the main thread.

    A cancellation ends this call, not the request.
    """
    interrupted = asyncio.Event()
    with first_interrupt_calls(interrupted.set):
        terminal.show(Progress("sending"))
        answer = await _submit(client, message, options, interrupted)
        printing = asyncio.create_task(
            print_answer(answer.events(), terminal, answer.request_id), name="printing"
        )
        cancelling = asyncio.create_task(_cancel(answer, terminal, interrupted), name="cancelling")
        try:
            await asyncio.wait({printing, cancelling}, return_when=asyncio.FIRST_COMPLETED)
            if cancelling.done():
                await cancelling
            return await printing
        finally:
            await _end(printing, cancelling)


async def _submit(
    client: AsyncClient, message: str, options: SubmitOptions, interrupted: asyncio.Event
) -> AsyncAnswer:
    submitting = asyncio.create_task(client.submit(message, **options), name="submitting")
    interruption = asyncio.create_task(interrupted.wait(), name="interruption")
    try:
        await asyncio.wait({submitting, interruption}, return_when=asyncio.FIRST_COMPLETED)
        if not submitting.done():
            await asyncio.wait({submitting}, timeout=_SUBMIT_GRACE_S)
        if not submitting.done():
            raise CommandFailed(_LEFT_EARLY, Exit.INTERRUPTED)
        return await submitting
    except CallRefused as refused:
        raise CommandFailed(f"the server rejected the message: {refusal(refused)}") from None
    except ApiUnreachable as error:
        raise CommandFailed(unreachable(client, error)) from None
    finally:
        await _end(submitting, interruption)


async def _cancel(answer: AsyncAnswer, terminal: Terminal, interrupted: asyncio.Event) -> None:
    """Wait for Ctrl+C, then cancel the request. Returns when the server confirms that it ended."""
    await interrupted.wait()
    terminal.note("cancelling; press Ctrl+C again to quit at once")
    try:
        async with asyncio.timeout(CANCEL_PATIENCE_S):
            await answer.cancel()
    except (TickertapeError, TimeoutError) as error:
        reason = str(error) or "no answer in time"
        raise CommandFailed(
            f"the request could not be cancelled ({reason}). To follow it:"
            f" {program_name()} watch {answer.request_id}",
            Exit.INTERRUPTED,
        ) from None


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
