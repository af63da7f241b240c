"""Shows a conversation: its past turns, and the answers to come."""

from typing import Any

from tickertape.cli.chat.actions import End, Fold, Text
from tickertape.cli.chat.answer import print_answer, spinning
from tickertape.cli.chat.terminal import OutputVoid, Terminal
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.program import program_name
from tickertape.client import AsyncClient, AsyncEvents, CallRefused, Conversation, Event, StreamLost


async def show_turns(client: AsyncClient, conversation: Conversation, terminal: Terminal) -> None:
    """Show the past turns, and the answer that is being written, to its end."""
    for turn in conversation.turns:
        terminal.show_question(question_of(turn.asked))
        if turn.request_id == conversation.active_request_id:
            await print_answer(client.follow(turn.request_id), terminal, turn.request_id)
        elif turn.answered:
            terminal.show(Text(turn.answered))
            terminal.show(End(turn.status or "completed"))
        terminal.end_turn()


def question_of(messages: Any) -> str:
    """Pure: the text of the last message of a user; empty if it has none."""
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            parts = content if isinstance(content, list) else []
            return " ".join(str(part.get("text") or "[image]") for part in parts)
    return ""


async def print_conversation(stream: AsyncEvents, terminal: Terminal, conversation_id: str) -> int:
    """Print each request of a conversation, including future ones. Ends with an error only.

    Raises CommandFailed as `print_answer` does.
    """
    printer = _ConversationPrinter(terminal)
    try:
        async with stream, spinning(terminal):
            async for event in stream:
                printer.show(event)
    except OutputVoid as void:
        raise CommandFailed(
            f"an answer was restarted ({void}); discard what was written", Exit.VOID
        ) from None
    except StreamLost as lost:
        after = f" --after {lost.cursor}" if lost.cursor else ""
        raise CommandFailed(
            f"{lost}; to continue later: {program_name()} watch {conversation_id}{after}"
        ) from None
    except CallRefused as refused:
        raise CommandFailed(f"the conversation cannot be read: {refused}") from None
    finally:
        terminal.settle()
    return Exit.OK


class _ConversationPrinter:
    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._request_id: str | None = None
        self._fold = Fold()

    def show(self, event: Event) -> None:
        if event.kind == "rewind" and event.request_id is None:
            self._terminal.note("the conversation is shown again from its first turn")
            return
        if event.request_id is None:
            return
        if event.request_id != self._request_id:
            self._request_id = event.request_id
            self._fold = Fold(is_whole=event.kind == "queued")
        if event.kind == "queued" and (question := question_of(event.data.get("messages"))):
            self._terminal.show_question(question)
        for action in self._fold.apply(event):
            self._terminal.show(action)
            if action == End("cancelled"):
                self._terminal.note("the answer was stopped")
            if isinstance(action, End):
                self._terminal.end_turn()
