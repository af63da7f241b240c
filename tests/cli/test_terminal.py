"""The output to stdout and stderr: to a terminal, to a pipe, and buffered."""

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.screen import Screen
from tickertape.cli.chat.actions import Clear, End, Note, Progress, Reasoning, Text
from tickertape.cli.chat.terminal import OutputVoid, Terminal
from tickertape.cli.chat.text import harmless


@pytest.fixture
def tty() -> Screen:
    return Screen(out_is_tty=True, err_is_tty=True)


@pytest.fixture
def pipe() -> Screen:
    return Screen(out_is_tty=False, err_is_tty=False)


@pytest.fixture
def held() -> Screen:
    return Screen(out_is_tty=False, err_is_tty=False, buffers_answer=True)


def test_each_piece_is_written_as_it_comes(pipe: Screen) -> None:
    pipe.terminal.show(Text("Hel"))
    assert pipe.out == "Hel"
    pipe.terminal.show(Text("lo"))
    assert pipe.out == "Hello"


def test_a_pipe_gets_the_bytes_of_the_answer_and_no_other(pipe: Screen) -> None:
    answer = "\x1b[31mred\r\nand \u2028 caf\u00e9"
    for action in (
        Progress("queued"),
        Reasoning("hm"),
        Text(answer),
        Note("by the way"),
        End("completed"),
    ):
        pipe.terminal.show(action)
    assert pipe.out == answer
    assert pipe.err == "tickertape: by the way\n"


def test_a_terminal_ends_the_last_line_for_the_prompt(tty: Screen) -> None:
    tty.terminal.show(Text("Hello"))
    tty.terminal.show(End("completed"))
    assert tty.out == "Hello\n"


def test_a_line_that_is_ended_is_not_ended_again(tty: Screen) -> None:
    tty.terminal.show(Text("Hello\n"))
    tty.terminal.show(End("completed"))
    assert tty.out == "Hello\n"


def test_an_answer_that_starts_over_is_announced_on_a_terminal(tty: Screen) -> None:
    tty.terminal.show(Text("wro"))
    tty.terminal.show(Clear("worker_lost"))
    tty.terminal.show(Text("right"))
    assert tty.out == "wro\nright"
    assert "starts over (worker_lost)" in tty.err


def test_an_answer_that_starts_over_is_never_spliced_in_a_pipe(pipe: Screen) -> None:
    pipe.terminal.show(Text("wro"))
    with pytest.raises(OutputVoid, match="worker_lost"):
        pipe.terminal.show(Clear("worker_lost"))
    assert pipe.out == "wro"


def test_a_buffered_answer_that_starts_over_is_written_once_and_complete(held: Screen) -> None:
    held.terminal.show(Text("wro"))
    held.terminal.show(Clear("worker_lost"))
    held.terminal.show(Text("rig"))
    held.terminal.show(Text("ht"))
    assert held.out == ""
    held.terminal.show(End("completed"))
    assert held.out == "right"


def test_a_problem_at_the_end_is_printed_after_the_partial_answer(held: Screen) -> None:
    held.terminal.show(Text("half"))
    held.terminal.show(End("failed", "the upstream hung up"))
    assert held.out == "half"
    assert held.err == "tickertape: the upstream hung up\n"


def test_progress_is_erased_before_the_answer(tty: Screen) -> None:
    tty.terminal.show(Progress("queued"))
    tty.terminal.show(Text("Hello"))
    assert tty.err.endswith("\r\x1b[K")
    assert tty.out == "Hello"


def test_progress_does_not_erase_a_partial_line_of_the_answer(tty: Screen) -> None:
    tty.terminal.show(Text("Hello"))
    before = tty.err
    tty.terminal.show(Progress("waiting"))
    assert tty.err == before


def test_progress_is_not_written_to_a_file(pipe: Screen) -> None:
    pipe.terminal.show(Progress("queued"))
    assert pipe.err == ""


def test_reasoning_is_dim_and_apart_from_the_answer(tty: Screen) -> None:
    tty.terminal.show(Reasoning("hm"))
    tty.terminal.show(Text("Hello"))
    assert tty.out == "\x1b[2mhm\x1b[22m\n\nHello"


def test_a_terminal_with_an_ascii_encoding_gets_question_marks() -> None:
    out = io.BytesIO()
    terminal = Terminal(out, io.StringIO(), out_is_tty=True, err_is_tty=False, encoding="ascii")
    terminal.show(Text("café"))
    assert out.getvalue() == b"caf?"


@pytest.mark.parametrize(
    "attack",
    ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "safe\rEVIL", "\x08\x08", "\x7f", "\x00"],
)
def test_a_model_cannot_command_the_terminal(tty: Screen, attack: str) -> None:
    tty.terminal.show(Text(attack))
    tty.terminal.show(Note(attack))
    assert not set(attack) & set("\x1b\x07\x9b\r\x08\x7f\x00") & set(tty.out + tty.err)


@given(st.text())
def test_nothing_but_line_feeds_and_tabs_is_left_of_control_characters(text: str) -> None:
    left = {c for c in harmless(text) if unicodedata.category(c) == "Cc"}
    assert left <= {"\n", "\t"}


@given(st.text(st.characters(exclude_categories=["Cc"])))
def test_a_text_without_control_characters_is_unchanged(text: str) -> None:
    assert harmless(text) == text
