"""Draws Markdown on a terminal while it is written. Only the last block is drawn again.

A block that another block follows cannot change any more and stays as it is. The last one is drawn
over itself; while it is taller than the screen, only its end is shown.
"""

import io
import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from markdown_it import MarkdownIt
from rich.console import Console
from rich.markdown import Markdown
from rich.segment import Segment, Segments

from tickertape.cli.chat.text import harmless

_UP, _BELOW, _REST = "\x1b[{}A", "\x1b[J", "\x1b[K"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_PARSER = MarkdownIt("commonmark").enable("table")
_UNDECIDED_LINE = re.compile(r"(?<=\n)[ \t]*(\d+[.)]?|[-+*=_~`#>|:]*)[ \t]*\Z")
_SHORTEST_PAUSE_S = 0.05
# A block that takes long to draw is drawn less often, so that drawing takes a fifth of the time.
_PAUSE_PER_DRAWING = 5


class Timer(Protocol):
    """What `Schedule` returns."""

    def cancel(self) -> None: ...


Schedule = Callable[[float, Callable[[], None]], Timer]
"""Calls a function after so many seconds, as `call_later` of an event loop does."""


class MarkdownView:
    """Draws one answer with `write`. After each call, the cursor is at the start of a line.

    Without `schedule`, each piece is drawn at once.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        schedule: Schedule | None = None,
        size: Callable[[], os.terminal_size] = shutil.get_terminal_size,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._write = write
        self._schedule = schedule
        self._size = size
        self._environment = environment
        self._last_block = ""
        self._is_first = True
        self._drawn_count = 0
        self._pause_s = _SHORTEST_PAUSE_S
        self._drawn_at_s = 0.0
        self._timer: Timer | None = None

    def add(self, text: str) -> None:
        """Append to the answer, and draw it now or within a moment."""
        self._last_block += harmless(text)
        due_s = self._drawn_at_s + self._pause_s - time.monotonic()
        if self._schedule is None or due_s <= 0:
            self._draw()
        elif self._timer is None:
            self._timer = self._schedule(due_s, self._draw)

    def hide(self) -> None:
        """Erase the last block, so that something else can be written. `show` draws it again."""
        self._write(self._overwrite([]))

    def show(self) -> None:
        """Draw the last block now."""
        self._draw()

    def finish(self) -> None:
        """Draw the last block for good."""
        self._stop_timer()
        self._write("".join(map(self._settled, split_blocks(self._last_block))))
        self._last_block = ""

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _draw(self) -> None:
        self._stop_timer()
        begin_s = time.monotonic()
        *done, self._last_block = split_blocks(self._last_block)
        shown = "".join(map(self._settled, done))
        lines = self._lines(self._last_block) if self._last_block.strip() else []
        # One line stays free for the cursor.
        shown += self._overwrite(lines[-max(1, self._size().lines - 1) :])
        self._write(shown)
        self._drawn_at_s = time.monotonic()
        self._pause_s = max(_SHORTEST_PAUSE_S, _PAUSE_PER_DRAWING * (self._drawn_at_s - begin_s))

    def _settled(self, block: str) -> str:
        """What draws a block for good."""
        if not block.strip():
            return ""
        drawing = self._overwrite(self._lines(block))
        self._drawn_count, self._is_first = 0, False
        return drawing

    def _overwrite(self, lines: list[str]) -> str:
        # The terminal itself echoes Ctrl+C as two characters on the line of the cursor.
        begin = "\r" + (_UP.format(self._drawn_count) if self._drawn_count else "")
        self._drawn_count = len(lines)
        return begin + "".join(f"{line}{_REST}\n" for line in lines) + _BELOW

    def _lines(self, text: str) -> list[str]:
        # One column stays free, because a full line wraps on some terminals.
        width = max(20, self._size().columns - 1)
        console = Console(
            file=io.StringIO(), force_terminal=True, width=width, _environ=self._environment
        )
        markdown = Markdown(text, hyperlinks=False, code_theme="ansi_dark")
        # Once more after the parser, which decodes entities.
        segments = [Segment(harmless(s.text), s.style) for s in console.render(markdown)]
        with console.capture() as captured:
            console.print(Segments(segments), end="")
        lines = _without_margins(captured.get().split("\n"))
        return lines if self._is_first else ["", *lines]


def _without_margins(lines: list[str]) -> list[str]:
    """The lines without spaces at their ends, and without empty lines before and after them."""
    texts = [_STYLE.sub("", line).strip() for line in lines]
    full = [index for index, text in enumerate(texts) if text]
    return [line.rstrip(" ") for line in lines[full[0] : full[-1] + 1]] if full else []


def split_blocks(text: str) -> list[str]:
    """Pure: the blocks of Markdown. The last one may grow or change its kind."""
    # "2" may become "2. item" of the list above, so a line of markers does not begin a block yet.
    known = _UNDECIDED_LINE.sub("", text)
    starts = [token.map[0] for token in _PARSER.parse(known) if token.level == 0 and token.map]
    *whole, rest = text.split("\n")
    lines = [*(f"{line}\n" for line in whole), rest]
    edges = [0, *starts[1:], len(lines)]
    return ["".join(lines[begin:end]) for begin, end in itertools.pairwise(edges)]
