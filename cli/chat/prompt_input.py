"""The input line of the interactive prompt: keys, history file and completion."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from tickertape.cli.chat.prompt_commands import COMMANDS

Names = Callable[[], Awaitable[Iterable[tuple[str, str]]]]
"""The names that an argument can have, each with what it is. Empty if the server is away."""


def new_input(names: Mapping[str, Names]) -> PromptSession[str]:
    """An input whose Enter sends. `names` completes the arguments of commands."""
    return PromptSession(
        history=_history(),
        completer=CommandCompleter(names),
        complete_while_typing=False,
        multiline=True,
        prompt_continuation="  ",
        key_bindings=_keys(),
        enable_history_search=False,
    )


def history_path() -> Path:
    """The history file in the folder of the XDG standard for state."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "tickertape" / "history"


def _history() -> History:
    path = history_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Messages are private.
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def break_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


class CommandCompleter(Completer):
    """Completes commands, and their arguments from the server."""

    def __init__(self, names: Mapping[str, Names]) -> None:
        self._names = names

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """None: prompt_toolkit calls the asynchronous method where an event loop runs."""
        del document, complete_event
        return ()

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion]:
        """The commands, or the names for the argument of the command, that begin as typed."""
        del complete_event
        command, has_argument, typed = document.text_before_cursor.partition(" ")
        if not command.startswith("/"):
            return
        if not has_argument:
            for name, use in COMMANDS.items():
                if name.startswith(command):
                    yield Completion(name, -len(command), display_meta=use)
        elif command in self._names:
            for name, meaning in await self._names[command]():
                if name.startswith(typed):
                    yield Completion(name, -len(typed), display_meta=meaning)
