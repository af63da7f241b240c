"""Backups of a server under load: the commands of docs/operation.md are run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.support.servers import ValkeyServer
from tests.support.wait import wait_until_sync
from tickertape.cli.up.data_dir import DataDir

_SNAPSHOT, _APPEND_ONLY = "dump.rdb", "appendonlydir"
_SECTION = Path("docs/operation.md").read_text("utf-8").partition("### Take a backup")[2]
_COMMANDS = re.findall(r"```sh\n(.*?)```", _SECTION, re.DOTALL)
# Prints what redis-cli prints, for the server in the variable URL.
_CLIENT = """#!{python}
import os, sys, redis
reply = redis.Connection(**redis.connection.parse_url(os.environ["URL"]))
reply.send_command(*sys.argv[1:])
print(reply.read_response().decode())
"""


@dataclass(frozen=True)
class Backup:
    """A way to copy the data of a running server into a folder, and to start on that copy."""

    take: Callable[[ValkeyServer, Path], None]
    restore: Callable[[ValkeyServer, Path], None]


def _take(block: int) -> Callable[[ValkeyServer, Path], None]:
    """Run a block of the document's commands in the server's folder."""

    def take(server: ValkeyServer, folder: Path) -> None:
        with tempfile.TemporaryDirectory() as programs:
            client = Path(programs) / "redis-cli"
            client.write_text(_CLIENT.format(python=sys.executable), "utf-8")
            client.chmod(0o700)
            variables = {"URL": server.url, "PATH": f"{programs}:{os.environ['PATH']}"}
            subprocess.run(
                ["/bin/sh", "-ec", _COMMANDS[block].replace("/backups", str(folder))],
                cwd=_data_of(server),
                env={**os.environ, **variables},
                check=True,
                timeout=60,
            )

    return take


def _restore_snapshot(server: ValkeyServer, folder: Path) -> None:
    """With an append-only file, a server would not look at the snapshot."""
    _empty(server)
    shutil.copy(folder / _SNAPSHOT, _data_of(server))
    server.start({"appendonly": "no"})
    with redis.Redis.from_url(server.url) as admin:
        admin.config_set("appendonly", "yes")
        wait_until_sync(lambda: _has_begun_file(admin), description="the append-only file")


def _has_begun_file(admin: redis.Redis) -> bool:
    about = admin.info("persistence")
    return bool(about["aof_enabled"]) and not (
        about["aof_rewrite_in_progress"] or about["aof_rewrite_scheduled"]
    )


def _restore_append_only(server: ValkeyServer, folder: Path) -> None:
    _empty(server)
    shutil.copytree(folder / _APPEND_ONLY, _data_of(server) / _APPEND_ONLY)
    server.start()


def _empty(server: ValkeyServer) -> None:
    """Kill the server, and remove its data."""
    server.kill()
    (_data_of(server) / _SNAPSHOT).unlink(missing_ok=True)
    shutil.rmtree(_data_of(server) / _APPEND_ONLY)


def _data_of(server: ValkeyServer) -> Path:
    return DataDir(server.data_dir).path


SNAPSHOT = Backup(_take(0), _restore_snapshot)
APPEND_ONLY = Backup(_take(1), _restore_append_only)
