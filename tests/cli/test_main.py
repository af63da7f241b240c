"""Commands: exit codes, and one clear line instead of a traceback.

Each start of a process takes a second. So one test of a group starts a process, and others call
`main` as the program does.
"""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tickertape.cli.main import main
from tickertape.cli.serve import module_environment
from tickertape.runtime.environment import variable_names

ROOT = Path(__file__).resolve().parent.parent.parent
# Nothing listens there.
AWAY = "http://127.0.0.1:9"
SLOW = pytest.mark.slow


def run(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in os.environ.items() if name not in variable_names()}
    return subprocess.run(
        [sys.executable, "-m", "tickertape.cli.main", *arguments],
        cwd=cwd,
        env={**bare, **module_environment(), "TICKERTAPE_URL": AWAY, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_the_version_is_printed(tmp_path: Path) -> None:
    answer = run("--version", cwd=tmp_path)
    assert answer.returncode == 0
    assert answer.stdout.startswith("tickertape ")


@pytest.mark.parametrize(
    "command", ["api", *(pytest.param(c, marks=SLOW) for c in ("up", "worker", "watch x", "roles"))]
)
def test_wrong_settings_are_printed_one_per_line(command: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TICKERTAPE_LEASE_S=soon\nREDIS_URL=http://:hunter2@wrong\n")
    answer = run(*command.split(), cwd=tmp_path)
    assert answer.returncode == 2
    lines = answer.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("tickertape: ") for line in lines)
    assert "TICKERTAPE_LEASE_S is 'soon'" in answer.stderr
    assert "hunter2" not in answer.stderr


@pytest.mark.parametrize("command", ["api", pytest.param("worker", marks=SLOW)])
def test_a_process_without_redis_names_the_setting(command: str, tmp_path: Path) -> None:
    answer = run(command, cwd=tmp_path)
    assert answer.returncode == 2
    assert "REDIS_URL" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_api_open_to_other_machines_without_keys_does_not_start(tmp_path: Path) -> None:
    answer = run("api", "--host=0.0.0.0", cwd=tmp_path, env={"REDIS_URL": "redis://127.0.0.1:9"})
    assert answer.returncode == 2
    assert "--open" in answer.stderr


def test_packages_of_the_user_with_the_same_names_are_not_imported(tmp_path: Path) -> None:
    for name in ("api", "worker", "broker", "cli", "roles"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')")
    answer = run("roles", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.usefixtures("bare")
def test_roles_are_listed_with_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roles"]) == 0
    table = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert {"cli", "translator", "sql"} <= table.keys()


@pytest.mark.usefixtures("bare")
def test_one_role_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roles", "cli"]) == 0
    shown = capsys.readouterr().out
    assert "# SYSTEM" in shown
    assert "${OS}" in shown


@pytest.mark.usefixtures("bare")
def test_an_unknown_role_is_reported_with_the_existing_roles(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["roles", "nobody"]) == 1
    reported = capsys.readouterr().err
    assert "'nobody'" in reported
    assert "translator" in reported


def test_problems_of_role_files_are_printed_with_file_and_line(
    tmp_path: Path, bare: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.md").write_text("no heading")
    monkeypatch.setenv("TICKERTAPE_ROLES_DIR", str(tmp_path))
    assert main(["roles"]) == 2
    assert "bad.md" in capsys.readouterr().err


def test_a_reader_that_closes_the_pipe_early_causes_no_error(tmp_path: Path) -> None:
    program = f"{sys.executable} -m tickertape.cli.main"
    command = f"{program} roles --local cli | head -c 1; exit ${{PIPESTATUS[0]}}"
    answer = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={**os.environ, **module_environment()},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    # A quick writer may be done before the reader leaves.
    assert answer.returncode in {0, 141}
    assert answer.stderr == ""


def test_an_empty_message_from_stdin_is_not_sent(
    bare: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert main(["chat", "-", f"--url={AWAY}"]) == 2
    assert capsys.readouterr().err == "tickertape: the message is empty\n"


def test_ctrl_c_ends_watch_without_a_traceback(tmp_path: Path) -> None:
    env = {**os.environ, **module_environment(), "TICKERTAPE_URL": "http://127.0.0.1:9"}
    script = (
        "import tickertape.client.stream, tickertape.cli.main, os, signal, sys\n"
        "async def interrupt(*_): os.kill(os.getpid(), signal.SIGINT)\n"
        "tickertape.client.stream.AsyncEvents._wait = interrupt\n"
        "sys.exit(tickertape.cli.main.main(['watch', 'r0_x']))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 130
    assert answer.stderr == ""
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
