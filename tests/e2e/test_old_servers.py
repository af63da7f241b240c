"""Each program refuses a server that is too old with one line."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import command, environment
from tests.support.server_programs import OLD_REDIS, packaged_server
from tests.support.servers import PROGRAM_VARIABLE, valkey_server

pytestmark = pytest.mark.slow

REFUSAL = "has no SPUBLISH and no SSUBSCRIBE: use Redis 7.0 or newer, or Valkey"


@pytest.fixture
def old_url() -> Iterator[str]:
    """The URL of a Redis 6.2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PROGRAM_VARIABLE, str(packaged_server(OLD_REDIS)))
        with valkey_server() as server:
            yield server.url


@pytest.mark.parametrize(
    "arguments", [("api", "--port=0"), ("worker",), ("partitions",), ("doctor",)], ids=str
)
def test_redis_6_2_is_refused_in_one_line(
    arguments: tuple[str, ...], old_url: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        command(*arguments),
        env=environment(REDIS_URL=old_url, OPENAI_BASE_URL="http://127.0.0.1:9/v1"),
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode != 0
    printed = [line for line in (ended.stdout + ended.stderr).splitlines() if REFUSAL in line]
    assert len(printed) == 1, ended.stdout + ended.stderr
    assert "Redis 6.2." in printed[0]
    assert "Traceback" not in ended.stderr
    assert "SUBSCRIBE`" not in ended.stdout + ended.stderr, "was used before it was looked at"
