"""The name of the program in printed commands."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from tickertape.cli.program import program_name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation in a folder whose name a shell would split, and a PATH without it."""
    scripts = tmp_path / "my venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("tickertape", "python"):
        (scripts / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setattr(sys, "argv", [str(scripts / "tickertape")])
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    return scripts


@pytest.mark.usefixtures("home")
def test_a_program_that_is_not_on_the_path_is_named_by_its_path_from_here() -> None:
    assert shlex.split(program_name()) == ["my venv/bin/tickertape"]


def test_a_path_from_here_that_is_longer_is_not_used(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = tmp_path.joinpath(*"abcdefghijklmnopqrstuvwxyz" * 4)
    far.mkdir(parents=True)
    monkeypatch.chdir(far)
    assert shlex.split(program_name()) == [str(home / "tickertape")]


def test_a_program_in_this_folder_is_not_searched_on_the_path(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert program_name() == "./tickertape"


def test_a_program_on_the_path_has_its_short_name(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"/nowhere{os.pathsep}{home}")
    assert program_name() == "tickertape"


def test_another_program_of_that_name_on_the_path_is_not_meant(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tickertape").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_name() != "tickertape"


def test_a_module_is_named_by_the_program_beside_its_interpreter_or_by_both(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/elsewhere/main.py"])
    assert shlex.split(program_name()) == ["my venv/bin/tickertape"]
    (home / "tickertape").unlink()
    assert shlex.split(program_name()) == ["my venv/bin/python", "-m", "tickertape.cli.main"]
