"""Puts actions where they belong: the answer, and nothing else, on stdout; the rest on stderr.

On a terminal an answer that begins again is announced and typed again. In a pipe or a file it
cannot be taken back, so there it ends the command, unless the answer is held until it is complete.
"""

import sys
from typing import IO, BinaryIO, Self

from tickertape.cli.chat.actions import Action, Clear, End, Note, Reasoning, Status, Text

_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"
_ERASE_LINE = "\r\x1b[K"
_PREFIX = "tickertape: "

# A model must not move the cursor, set the title or answer for the user: what would be a command to
# a terminal is shown as a picture of itself. CR goes, since alone it would overwrite its line.
_HARMLESS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_HARMLESS |= dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}")
_HARMLESS |= {ord("\r"): "", 0x7F: "\N{SYMBOL FOR DELETE}"}


class OutputVoid(Exception):
    """What was written to stdout is not the answer, and it cannot be taken back."""


def harmless(text: str) -> str:
    """`text` without anything that a terminal would obey, except line feeds and tabs."""
    return text.translate(_HARMLESS)


class Terminal:
    """Where one answer goes. With `holds_answer`, stdout gets it whole when it ends."""

    def __init__(
        self,
        out: BinaryIO,
        err: IO[str],
        *,
        types: bool,
        explains: bool,
        holds_answer: bool = False,
        encoding: str = "utf-8",
    ) -> None:
        self._out = out
        self._err = err
        self._types = types
        self._explains = explains
        self._encoding = encoding
        self._held: list[str] | None = [] if holds_answer else None
        self._is_at_line_start = True
        self._is_reasoning = False
        self._has_status = False

    @classmethod
    def of_process(cls, *, holds_answer: bool = False) -> Self:
        """The terminal, pipe or file that this process was started with."""
        return cls(
            sys.stdout.buffer,
            sys.stderr,
            types=sys.stdout.isatty(),
            explains=sys.stderr.isatty(),
            holds_answer=holds_answer,
            encoding=sys.stdout.encoding if sys.stdout.isatty() else "utf-8",
        )

    def show(self, action: Action) -> None:
        """Do it. Raises OutputVoid, and BrokenPipeError when the reader of stdout has left."""
        match action:
            case Status(text):
                self._show_status(text)
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
        """Tell the user something, on a line of its own."""
        self._close_line()
        self._err.write(f"{_PREFIX}{harmless(text)}\n")
        self._err.flush()

    def _add(self, text: str) -> None:
        if self._is_reasoning:
            self._close_line()
            self._write("\n")
        if self._held is None:
            self._write(text)
        else:
            self._held.append(text)

    def _reason(self, text: str) -> None:
        if not self._types or self._held is not None:
            return
        if not self._is_reasoning:
            self._close_line()
            self._is_reasoning = True
        # Plain again after each piece, so that leaving in the middle leaves no dim prompt behind.
        self._write(text, before=_DIM, after=_PLAIN)

    def _clear(self, reason: str) -> None:
        if self._held is not None:
            self._held.clear()
        elif self._types:
            self.note(f"the answer begins again ({reason})")
        else:
            raise OutputVoid(reason)

    def _end(self, problem: str | None) -> None:
        if self._held:
            self._write("".join(self._held))
            self._held.clear()
        self._close_line()
        if problem is not None:
            self.note(problem)

    def _show_status(self, text: str) -> None:
        # Only where no half line of the answer would be erased with it.
        if self._explains and (self._is_at_line_start or not self._types):
            self._err.write(f"{_ERASE_LINE}{_DIM}{harmless(text)} ...{_PLAIN}")
            self._err.flush()
            self._has_status = True

    def _erase_status(self) -> None:
        if self._has_status:
            self._has_status = False
            self._err.write(_ERASE_LINE)
            self._err.flush()

    def _close_line(self) -> None:
        """Leave the cursor at the start of a line; a pipe or file gets not a byte for that."""
        self._erase_status()
        self._is_reasoning = False
        if self._types and not self._is_at_line_start:
            self._write("\n")

    def _write(self, text: str, before: str = "", after: str = "") -> None:
        if not text:
            return
        self._erase_status()
        self._is_at_line_start = text.endswith("\n")
        shown = f"{before}{harmless(text)}{after}" if self._types else text
        self._out.write(shown.encode(self._encoding, "replace"))
        self._out.flush()
