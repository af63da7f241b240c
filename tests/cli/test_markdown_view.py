"""Markdown on a terminal: drawn once it is complete, redrawn while it grows, harmless."""

import itertools
import os
import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickertape.cli.chat.markdown_view import MarkdownView, split_blocks

STYLE = re.compile(r"\x1b\[[0-9;]*m")
ANSWER = """\
# Title

Some *words* and `code`.

- one
- two

| a | b |
|---|---|
| 1 | 2 |

```python
print("hi")
```

The end.
"""


class Paper:
    """A terminal without a limit in height that knows the sequences of the view."""

    def __init__(self, columns: int = 60, lines: int = 200, **environment: str) -> None:
        self.rows = [""]
        self.row = self.column = 0
        self.is_written = False
        self.written = ""
        size = os.terminal_size((columns, lines))
        self.view = MarkdownView(
            self.write, size=lambda: size, environment={"TERM": "xterm", **environment}
        )

    def write(self, text: str) -> None:
        self.written += text
        for part in re.split(r"(\r|\x1b\[\d+A|\x1b\[J|\x1b\[K|\n)", text):
            if up := re.fullmatch(r"\x1b\[(\d+)A", part):
                self.row -= int(up[1])
                assert self.row >= 0, "the cursor left the top of the screen"
            elif part == "\r":
                self.column = 0
            elif part == "\x1b[J":
                assert self.column == 0
                self.rows = [*self.rows[: self.row], ""]
            elif part == "\x1b[K":
                self.rows[self.row] = self.rows[self.row] if self.is_written else ""
            elif part == "\n":
                self.row += 1
                self.column = 0
                self.is_written = False
                self.rows += [""] * (self.row + 1 - len(self.rows))
            elif part:
                self.rows[self.row] = part
                self.is_written = True
                self.column = 1

    @property
    def shown(self) -> str:
        return STYLE.sub("", "\n".join(self.rows)).rstrip()


def drawn(*pieces: str, **size: int) -> Paper:
    paper = Paper(**size)  # type: ignore[arg-type]  # no environment
    for piece in pieces:
        paper.view.add(piece)
    paper.view.finish()
    return paper


def test_markdown_is_formatted() -> None:
    shown = drawn(ANSWER).shown
    for text in ("Title", "Some words and code.", " • one", " 1  2", 'print("hi")', "The end."):
        assert text in shown
    assert "#" not in shown
    assert "```" not in shown


@settings(max_examples=30)
@given(st.lists(st.integers(0, len(ANSWER)), max_size=12))
def test_however_an_answer_is_cut_the_same_is_shown_at_the_end(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(ANSWER)]
    pieces = [ANSWER[a:b] for a, b in itertools.pairwise(edges)]
    assert drawn(*pieces).shown.split() == shown_whole()


@cache
def shown_whole() -> list[str]:
    """The words of the answer in one piece."""
    return drawn(ANSWER).shown.split()


def test_a_finished_block_is_not_drawn_again() -> None:
    paper = Paper()
    paper.view.add("First paragraph.\n\nSecond")
    before = len(paper.written)
    for word in (" has", " more", " words"):
        paper.view.add(word)
    assert "First" not in paper.written[before:]
    assert paper.shown == "First paragraph.\n\nSecond has more words"


def test_the_echo_of_ctrl_c_is_drawn_over() -> None:
    paper = Paper()
    paper.view.add("It began")
    paper.write("^C")
    paper.view.hide()
    assert paper.shown == ""
    paper.view.show()
    assert paper.shown == "It began"


def test_a_block_taller_than_the_screen_is_shown_whole_at_the_end() -> None:
    items = [f"- item {n}\n" for n in range(50)]
    paper = Paper(lines=10)
    for item in items:
        paper.view.add(item)
        assert paper.shown.count("item") <= 9
    paper.view.finish()
    assert paper.shown.count("item") == 50


def test_no_color_means_no_color() -> None:
    paper = Paper(NO_COLOR="1")
    paper.view.add("`code` and **bold**")
    codes = {
        code
        for found in re.findall(r"\x1b\[([0-9;]*)m", paper.written)
        for code in found.split(";")
    }
    assert not {code for code in codes if code.isdigit() and 30 <= int(code) <= 107}


@pytest.mark.parametrize(
    "attack",
    ["\x1b[2J", "\x1b]0;title\x07", "`\x9b31m`", "[x](http://a/\x1b]8)", "&#27;[2J", "&#x9b;31m"],
)
def test_a_model_cannot_command_the_terminal(attack: str) -> None:
    paper = drawn(f"before {attack} after")
    left = re.sub(r"\x1b\[(\d+A|J|K|[0-9;]*m)", "", paper.written)
    assert not set(left) & set("\x1b\x07\x9b\x08\x7f")


@given(st.text())
def test_no_text_leaves_a_control_character(text: str) -> None:
    left = re.sub(r"\x1b\[(\d+A|J|K|[0-9;]*m)", "", drawn(text).written)
    assert not {c for c in left if ord(c) < 32 and c not in "\r\n\t"}


def test_the_target_of_a_link_can_be_read() -> None:
    assert "https://a.example/" in drawn("[good](https://a.example/)").shown


def test_blocks_are_one_line_apart_however_they_arrive() -> None:
    paper = Paper()
    paper.view.add(ANSWER)
    paper.view.finish()
    whole = paper.shown
    assert "\n\n\n" not in re.sub(r" +\n", "\n", whole)
    paper = Paper()
    for line in ANSWER.splitlines(keepends=True):
        paper.view.add(line)
    paper.view.finish()
    assert paper.shown == whole


@pytest.mark.parametrize(
    "blocks",
    [
        [""],
        ["one"],
        ["one\n\n", "two"],
        ["- a\n- b"],
        ["1. a\n\n2"],
        ["1. a\n\n2. b"],
        ["```\na\n\nb"],
        ["a\n\n", "```\nb\n```\n\n", "c"],
        ["# a\n", "b\n\n\n", "> c"],
        ["a\u2028b\n\n", "c"],
    ],
)
def test_a_block_ends_where_another_one_begins(blocks: list[str]) -> None:
    assert split_blocks("".join(blocks)) == blocks
