"""Writes the answer, and only the answer, to stdout; everything else goes to stderr.

If an answer starts over, a terminal shows a note and then the new answer. Output to a pipe or file
cannot be taken back, so there OutputVoid ends the command, unless the answer is buffered.
"""

import sys
from typing import IO, BinaryIO, Self

from tickertape.cli.chat.actions import Action, Clear, End, Note, Progress, Reasoning, Text

_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"
_ERASE_LINE = "\r\x1b[K"
_PREFIX = "tickertape: "

# A model must not move the cursor, set the title or type for the user: control characters are shown
# as their Unicode pictures. CR is removed, because a lone CR would overwrite its line.
_HARMLESS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_HARMLESS |= dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}")
_HARMLESS |= {ord("\r"): "", 0x7F: "\N{SYMBOL FOR DELETE}"}


class OutputVoid(Exception):
    """The answer was restarted after a part of it was written to a pipe or file."""


def harmless(text: str) -> str:
    """`text` without control characters, except line feeds and tabs."""
    return text.translate(_HARMLESS)


class Terminal:
    """Writes one answer. With `buffers_answer`, it is written to stdout when it is complete."""

    def __init__(
        self,
        out: BinaryIO,
        err: IO[str],
        *,
        out_is_tty: bool,
        err_is_tty: bool,
        buffers_answer: bool = False,
        encoding: str = "utf-8",
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
        )

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
        self._close_line()
        self._err.write(f"{_PREFIX}{harmless(text)}\n")
        self._err.flush()

    def _add(self, text: str) -> None:
        if self._is_reasoning:
            self._close_line()
            self._write("\n")
        if self._buffer is None:
            self._write(text)
        else:
            self._buffer.append(text)

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
            self.note(f"the answer starts over ({reason})")
        else:
            raise OutputVoid(reason)

    def _end(self, problem: str | None) -> None:
        if self._buffer:
            self._write("".join(self._buffer))
            self._buffer.clear()
        self._close_line()
        if problem is not None:
            self.note(problem)

    def _show_progress(self, text: str) -> None:
        # Not behind a partial line of the answer, which would be erased with the progress line.
        if self._err_is_tty and (self._is_at_line_start or not self._out_is_tty):
            self._err.write(f"{_ERASE_LINE}{_DIM}{harmless(text)} ...{_PLAIN}")
            self._err.flush()
            self._has_progress = True

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
