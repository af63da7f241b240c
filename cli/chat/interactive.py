"""`tickertape chat` without a message: a prompt that keeps one conversation.

Each message is one request, as in `tickertape chat MESSAGE`. Ctrl+C stops the answer and keeps the
prompt; Ctrl+D leaves.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from tickertape.cli.chat.ask import chat, new_conversation_id, print_how_to_continue
from tickertape.cli.chat.client_settings import Server, make_client
from tickertape.cli.chat.listing import conversation_lines
from tickertape.cli.chat.prompt_commands import (
    COMMANDS,
    KEYS,
    Call,
    Changed,
    Choices,
    Message,
    Wrong,
    read_line,
)
from tickertape.cli.chat.prompt_input import new_input
from tickertape.cli.chat.server_errors import refusal, unreachable
from tickertape.cli.chat.terminal import Terminal
from tickertape.cli.chat.text import harmless, one_line
from tickertape.cli.chat.turns import show_turns
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.client import ApiUnreachable, AsyncClient, CallRefused, TickertapeError
from tickertape.client.submission import SubmitOptions

_LISTED = 20


def run(server: Server, options: SubmitOptions) -> int:
    """Read messages until the user leaves. Raises SettingsInvalid, and CommandFailed."""
    terminal = Terminal.of_process()
    return asyncio.run(_run(server, options, terminal))


async def _run(server: Server, options: SubmitOptions, terminal: Terminal) -> int:
    async with make_client(server, notify=terminal.note) as client:
        prompt = Prompt(client, terminal, choices_of(options))
        await prompt.greet("conversation_id" in options)
        await prompt.run()
    return Exit.OK


def choices_of(options: SubmitOptions) -> Choices:
    """The choices of a command line."""
    return Choices(
        conversation_id=options.get("conversation_id") or new_conversation_id(),
        role=options.get("role"),
        variables=dict(options.get("variables") or {}),
        model=options.get("model"),
        temperature=options.get("temperature"),
    )


class Prompt:
    """The state of one interactive session."""

    def __init__(self, client: AsyncClient, terminal: Terminal, choices: Choices) -> None:
        self.choices = choices
        self._client = client
        self._terminal = terminal
        self._has_asked = False

    async def greet(self, continues: bool) -> None:  # noqa: FBT001  # one caller
        """Say where the messages go. Raises CommandFailed if the API does not answer."""
        try:
            await self._client.roles()
            if continues:
                await self._open(self.choices.conversation_id)
        except ApiUnreachable as error:
            raise CommandFailed(unreachable(self._client, error)) from None
        except CallRefused as error:
            if error.status != 404:
                raise CommandFailed(refusal(error)) from None
        print(f"Tickertape at {self._client.display_url}. /help lists the commands.")

    async def run(self) -> None:
        """Read and perform lines until the user leaves."""
        names = {"/role": self._role_names, "/model": self._model_names, "/open": self._open_names}
        line_input = new_input(names)
        while True:
            try:
                line = await line_input.prompt_async(f"{one_line(self._label(), 60)}> ")
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
            try:
                if not await self._perform(line):
                    break
            except CommandFailed as failed:
                self._terminal.note(str(failed))
            except ApiUnreachable as error:
                self._terminal.note(unreachable(self._client, error))
            except TickertapeError as error:
                self._terminal.note(str(error))
        if self._has_asked:
            print_how_to_continue(self.choices.conversation_id)

    def _label(self) -> str:
        return " ".join(name for name in (self.choices.role, self.choices.model) if name)

    async def _perform(self, line: str) -> bool:
        match read_line(line, self.choices):
            case Message(text):
                options = cast("SubmitOptions", self.choices.options())
                self._has_asked = True
                await chat(self._client, text, options, self._terminal)
                print()
            case Changed(choices, note):
                self.choices = choices
                self._terminal.note(note)
            case Wrong(reason):
                self._terminal.note(reason)
            case Call("/quit"):
                return False
            case Call(name, argument):
                await self._call(name, argument)
        return True

    async def _call(self, name: str, argument: str) -> None:
        match name:
            case "/help":
                print(help_text())
            case "/new":
                self.choices = replace(self.choices, conversation_id=new_conversation_id())
                self._has_asked = False
                self._terminal.note("this is another conversation")
            case "/list":
                lines = await conversation_lines(self._client, argument or None, _LISTED)
                print(lines or "No conversation was found.")
            case "/open" if argument:
                await self._open(argument)
            case "/open":
                self._terminal.note("write /open ID; /list shows the ids")
            case "/stop":
                await self._stop()

    async def _open(self, conversation_id: str) -> None:
        conversation = await self._client.conversation(conversation_id)
        self.choices = replace(
            self.choices,
            conversation_id=conversation_id,
            role=self.choices.role or conversation.role,
            model=self.choices.model or conversation.model,
        )
        self._has_asked = True
        await show_turns(self._client, conversation, self._terminal)

    async def _stop(self) -> None:
        conversation = await self._client.conversation(self.choices.conversation_id)
        if conversation.active_request_id is None:
            self._terminal.note("no answer is being written")
            return
        status = await self._client.cancel(conversation.active_request_id)
        self._terminal.note(f"the request is {status}")

    async def _role_names(self) -> Iterable[tuple[str, str]]:
        with contextlib.suppress(TickertapeError):
            return [(role.name, harmless(role.description)) for role in await self._client.roles()]
        return ()

    async def _model_names(self) -> Iterable[tuple[str, str]]:
        with contextlib.suppress(TickertapeError):
            return [(harmless(name), "") for name in await self._client.models()]
        return ()

    async def _open_names(self) -> Iterable[tuple[str, str]]:
        with contextlib.suppress(TickertapeError):
            page = await self._client.conversations(limit=_LISTED)
            return [
                (found.conversation_id, one_line(found.title or "", 60))
                for found in page.conversations
            ]
        return ()


def help_text() -> str:
    """The commands and keys of the prompt."""
    rows = {**COMMANDS, **KEYS}
    width = max(map(len, rows))
    return "\n".join(f"  {name:{width}}  {use}" for name, use in rows.items())
