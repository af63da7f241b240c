"""The command line: options, defaults and help."""

from pathlib import Path

import pytest

from tickertape.cli.arguments import parse


def test_up_needs_no_options() -> None:
    given = parse(["up"])
    assert (given.host, given.port, given.workers) == ("127.0.0.1", 8000, 1)
    assert given.data_dir == Path(".tickertape")
    assert not given.open


def test_only_the_api_may_be_behind_loopback() -> None:
    assert parse(["api", "--behind-loopback"]).behind_loopback
    assert not parse(["api"]).behind_loopback


def test_a_message_may_be_written_without_quotes() -> None:
    given = parse(["chat", "-r", "cli", "-t", "0.5", "list", "all", "files"])
    assert " ".join(given.message) == "list all files"
    assert (given.role, given.temperature, given.model) == ("cli", 0.5, None)


def test_variables_of_a_role_are_written_as_name_and_value() -> None:
    given = parse(["chat", "-r", "sql", "--var", "DIALECT=a=b", "--var", "X=", "hello"])
    assert dict(given.var) == {"DIALECT": "a=b", "X": ""}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "down",
        "watch",
        "list -n 0",
        "completion csh",
        "up --port 70000",
        "up --port x",
        "up --workers 0",
        "worker --slots -1",
        "chat -t warm hello",
        "chat --var LEVEL hello",
        "chat --var =a hello",
    ],
)
def test_a_wrong_command_line_ends_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(line.split())
    assert ended.value.code == 2
    assert "usage: tickertape" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("worker --processes x", "--processes: 'x' is not a whole number"),
        ("worker --slots 1.5", "--slots: '1.5' is not a whole number"),
        ("api --port x", "--port: 'x' is not a port from 0 to 65535"),
        ("bench --rate x", "--rate: 'x' is not a number"),
        ("bench --upstream here:there", "--upstream: 'there' is not a port from 0 to 65535"),
    ],
)
def test_a_wrong_number_is_refused_in_words_for_users(
    line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(line.split())
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["", "up", "api", "worker", "model", "chat", "watch", "list", "roles", "completion", "doctor"],
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([*command.split(), "--help"])
    assert ended.value.code == 0
    assert f"usage: tickertape {command}".strip() in capsys.readouterr().out


def test_the_exit_codes_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["chat", "--help"])
    assert "130 cancelled" in capsys.readouterr().out
