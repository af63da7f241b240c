"""Lines of the interactive prompt: messages, commands and mistakes."""

import pytest

from tickertape.cli.chat.prompt_commands import (
    COMMANDS,
    Call,
    Changed,
    Choices,
    Message,
    Wrong,
    read_line,
)

NOTHING = Choices("c1")


def changed(line: str, choices: Choices = NOTHING) -> Choices:
    meaning = read_line(line, choices)
    assert isinstance(meaning, Changed), meaning
    return meaning.choices


@pytest.mark.parametrize("line", ["", "   ", "\n"])
def test_an_empty_line_means_nothing(line: str) -> None:
    assert read_line(line, NOTHING) is None


@pytest.mark.parametrize("line", ["hi", "/usr/bin/env is a path", "1/2", "first\n/second"])
def test_what_is_not_a_command_is_a_message(line: str) -> None:
    assert read_line(line, NOTHING) == Message(line)


def test_two_slashes_send_a_message_that_begins_with_one() -> None:
    assert read_line("//help me", NOTHING) == Message("/help me")


def test_choices_are_sent_with_each_message() -> None:
    choices = changed("/role sql")
    choices = changed("/var DIALECT=a=b", choices)
    choices = changed("/model m", choices)
    choices = changed("/temperature 0.5", choices)
    assert choices.options() == {
        "conversation_id": "c1",
        "role": "sql",
        "variables": {"DIALECT": "a=b"},
        "model": "m",
        "temperature": 0.5,
    }


@pytest.mark.parametrize("command", ["/role", "/model", "/temperature"])
def test_a_command_without_a_value_returns_to_the_default(command: str) -> None:
    choices = Choices("c1", role="sql", model="m", temperature=1.0, variables={"A": "b"})
    assert command[1:] not in changed(command, choices).options()


def test_another_role_forgets_the_variables_of_the_last_one() -> None:
    assert changed("/role cli", Choices("c1", role="sql", variables={"A": "b"})).variables == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/reset", "/reset"),
        ("/temperature hot", "from 0 to 2"),
        ("/temperature 3", "from 0 to 2"),
        ("/temperature nan", "from 0 to 2"),
        ("/var A", "NAME=VALUE"),
    ],
)
def test_a_mistake_is_explained(line: str, reason: str) -> None:
    meaning = read_line(line, NOTHING)
    assert isinstance(meaning, Wrong)
    assert reason in meaning.reason


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_listed_command_is_understood(name: str) -> None:
    assert isinstance(read_line(f"{name} A=1", NOTHING), Call | Changed | Wrong)
    assert read_line(f"{name}x", NOTHING) != read_line(name, NOTHING)


def test_the_argument_of_a_command_is_its_rest() -> None:
    assert read_line("/list  two words ", NOTHING) == Call("/list", "two words")
