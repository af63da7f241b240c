"""Writes the answer, and only the answer, to stdout; everything else goes to stderr.

If an answer starts over, a terminal shows a note and then the new answer. Output to a pipe or file
cannot be taken back, so there OutputVoid ends the command, unless the answer is buffered.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, BinaryIO, Self

from tickertape.cli.chat.actions import Action, Clear, End, Note, Progress, Reasoning, Text
from tickertape.cli.chat.text import harmless

if TYPE_CHECKING:
    from tickertape.cli.chat.markdown_view import MarkdownView

_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"
_ERASE_LINE = "\r\x1b[K"
_PREFIX = "tickertape: "
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ASCII_SPINNER = "|/-\\"


class OutputVoid(Exception):
    """The answer was restarted after a part of it was written to a pipe or file."""


class Terminal:
    """Writes answers. With `buffers_answer`, they are written to stdout when they are complete.

    With `renders`, a terminal gets the answers as formatted Markdown, else as they are.
    """

    def __init__(
        self,
        out: BinaryIO,
        err: IO[str],
        *,
        out_is_tty: bool,
        err_is_tty: bool,
        buffers_answer: bool = False,
        encoding: str = "utf-8",
        renders: bool = False,
    ) -> None:
        self._out = out
        self._err = err
        self._out_is_tty = out_is_tty
        self._err_is_tty = err_is_tty
        self._encoding = encoding
        self._buffer: list[str] | None = [] if buffers_answer else None
        self._is_at_line_start = True
        self._is_reasoning = False
        self._has_progress = False
        self._progress = ""
        self._frame = 0
        self._renders = renders and out_is_tty and not buffers_answer
        self._view: MarkdownView | None = None

    @classmethod
    def of_process(cls, *, buffers_answer: bool = False) -> Self:
        """A terminal that writes to stdout and stderr of this process."""
        return cls(
            sys.stdout.buffer,
            sys.stderr,
            out_is_tty=sys.stdout.isatty(),
            err_is_tty=sys.stderr.isatty(),
            buffers_answer=buffers_answer,
            encoding=sys.stdout.encoding if sys.stdout.isatty() else "utf-8",
            renders=os.environ.get("TERM") != "dumb",
        )

    def spin(self) -> None:
        """Draw the next picture of the spinner while a progress line is shown."""
        if self._has_progress:
            self._frame += 1
            self._show_progress(self._progress)

    def show(self, action: Action) -> None:
        """Perform the action. Raises OutputVoid, and BrokenPipeError if stdout is a closed pipe."""
        match action:
            case Progress(text):
                self._show_progress(text)
            case Text(text):
                self._add(text)
            case Reasoning(text):
                self._reason(text)
            case Clear(reason):
                self._clear(reason)
            case Note(text):
                self.note(text)
            case End(_, problem):
                self._end(problem)

    def note(self, text: str) -> None:
        """Print a line for the user on stderr."""
        if self._view is not None:
            self._view.hide()
        self._close_line()
        self._err.write(f"{_PREFIX}{harmless(text)}\n")
        self._err.flush()
        if self._view is not None:
            self._view.show()

    def show_question(self, text: str) -> None:
        """Print a question of the conversation; output to a pipe or file has answers only."""
        if self._out_is_tty:
            self._close_line()
            quoted = "\n".join(f"> {line}" for line in text.strip().split("\n"))
            self._write(f"{quoted}\n\n")

    def end_turn(self) -> None:
        """Print an empty line behind an answer that another one may follow."""
        self._write("\n" if self._is_at_line_start else "\n\n")

    def settle(self) -> None:
        """Erase the progress line and finish what is drawn, because the reading ended early."""
        self._end_view()
        self._erase_progress()

    def _add(self, text: str) -> None:
        if self._is_reasoning:
            self._close_line()
            self._write("\n")
        if self._renders:
            self._render(text)
        elif self._buffer is None:
            self._write(text)
        else:
            self._buffer.append(text)

    def _render(self, text: str) -> None:
        if self._view is None:
            self._close_line()
            self._view = _new_view(self._draw)
        self._view.add(text)

    def _draw(self, text: str) -> None:
        self._erase_progress()
        self._is_at_line_start = True
        self._out.write(text.encode(self._encoding, "replace"))
        self._out.flush()

    def _reason(self, text: str) -> None:
        if not self._out_is_tty or self._buffer is not None:
            return
        if not self._is_reasoning:
            self._close_line()
            self._is_reasoning = True
        # Each piece ends in plain style, so that quitting here does not leave a dim shell prompt.
        self._write(text, before=_DIM, after=_PLAIN)

    def _clear(self, reason: str) -> None:
        if self._buffer is not None:
            self._buffer.clear()
        elif self._out_is_tty:
            self._end_view()
            self.note(f"the answer starts over ({reason})")
        else:
            raise OutputVoid(reason)

    def _end(self, problem: str | None) -> None:
        if self._buffer:
            self._write("".join(self._buffer))
            self._buffer.clear()
        self._end_view()
        self._close_line()
        if problem is not None:
            self.note(problem)

    def _end_view(self) -> None:
        if self._view is not None:
            self._view.finish()
            self._view = None

    def _show_progress(self, text: str) -> None:
        # Not behind a partial line of the answer, which would be erased with the progress line.
        if self._err_is_tty and (self._is_at_line_start or not self._out_is_tty):
            pictures = _SPINNER if self._encoding == "utf-8" else _ASCII_SPINNER
            picture = pictures[self._frame % len(pictures)]
            self._err.write(f"{_ERASE_LINE}{_DIM}{picture} {harmless(text)} ...{_PLAIN}")
            self._err.flush()
            self._has_progress, self._progress = True, text

    def _erase_progress(self) -> None:
        if self._has_progress:
            self._has_progress = False
            self._err.write(_ERASE_LINE)
            self._err.flush()

    def _close_line(self) -> None:
        """Move the cursor of a terminal to the start of a line. A pipe or file gets no byte."""
        self._erase_progress()
        self._is_reasoning = False
        if self._out_is_tty and not self._is_at_line_start:
            self._write("\n")

    def _write(self, text: str, before: str = "", after: str = "") -> None:
        if not text:
            return
        self._erase_progress()
        self._is_at_line_start = text.endswith("\n")
        shown = f"{before}{harmless(text)}{after}" if self._out_is_tty else text
        self._out.write(shown.encode(self._encoding, "replace"))
        self._out.flush()


def _new_view(write: Callable[[str], None]) -> "MarkdownView":
    # Imported here, because rich takes 0.1 s and a pipe does not need it.
    from tickertape.cli.chat.markdown_view import MarkdownView

    try:
        schedule = asyncio.get_running_loop().call_later
    except RuntimeError:
        return MarkdownView(write)
    return MarkdownView(write, schedule=schedule)
