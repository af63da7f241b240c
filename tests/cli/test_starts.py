"""A start that only other settings can help ends with 2 and one line, without a traceback."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.setup_stage import Stage, WrongSetup, good_stage
from tests.cli.wrong_setups import SETUPS
from tests.support.programs import command, environment
from tests.support.servers import valkey_server
from tickertape.cli.checks.cases import CASES

pytestmark = pytest.mark.slow  # each starts a process

# Which command meets a wrong set-up of this subject first. `up` is tried where it differs.
_COMMANDS = {
    "redis": "worker",
    "upstream": "worker",
    "settings": "api",
    "keys": "api",
    "roles": "api",
    "audit": "api",
}
_ALL = {"redis-login", "redis-database", "settings-env", "settings-unknown", "port-taken"}


def commands_of(wrong: WrongSetup) -> list[str]:
    if wrong.role != "up":
        return [wrong.role]
    if wrong.case in _ALL:
        return ["api", "up"] if wrong.case == "port-taken" else ["api", "worker", "up"]
    return [_COMMANDS[wrong.case.partition("-")[0]]]


ENDS = [
    # What stops every program is found by the same code, so CI starts one of them.
    pytest.param(
        wrong,
        command,
        id=f"{command}: {wrong.name}",
        marks=[pytest.mark.long] if command != commands_of(wrong)[0] else [],
    )
    for wrong in SETUPS
    if CASES[wrong.case].ends_start
    for command in commands_of(wrong)
]


@pytest.fixture(scope="module")
def good_url() -> Iterator[str]:
    with valkey_server(append_only=True) as server:
        yield server.url


def start(name: str, stage: Stage) -> subprocess.CompletedProcess[str]:
    options = stage.arguments if name != "worker" else []
    return subprocess.run(
        command(name, *options),
        env=environment(**stage.env),
        cwd=stage.folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize(("wrong", "name"), ENDS)
async def test_the_start_ends_with_2_and_one_line_with_a_fix(
    wrong: WrongSetup, name: str, tmp_path: Path, good_url: str
) -> None:
    async with good_stage(tmp_path, good_url) as stage:
        await wrong.cause(stage)
        ended = await asyncio.to_thread(start, name, stage)
    assert ended.returncode == 2, ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("tickertape: ")]
    assert len(said) == 1, ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    fix = CASES[wrong.case].fix
    assert "{" in fix or wrong.case.partition("-")[0] != "redis" or fix in said[0]


@pytest.mark.parametrize(
    "arguments", [("dead", "list"), ("partitions",), ("keys", "list")], ids=str
)
async def test_a_command_with_a_wrong_password_ends_with_2_and_the_fix(
    arguments: tuple[str, ...], tmp_path: Path, good_url: str
) -> None:
    (wrong,) = (wrong for wrong in SETUPS if wrong.case == "redis-login")
    async with good_stage(tmp_path, good_url) as stage:
        await wrong.cause(stage)
        stage.arguments = [*arguments[1:]]
        ended = await asyncio.to_thread(start, arguments[0], stage)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert CASES[wrong.case].fix in line
