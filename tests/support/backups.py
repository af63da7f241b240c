"""Backups of Redis under load: the commands of docs/operation.md are run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import redis

from tests.support.cluster import Cluster
from tests.support.sentinel import Watched
from tests.support.wait import wait_until_sync

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


class Server(Protocol):
    """One server, whose data is in `files`."""

    @property
    def url(self) -> str: ...

    @property
    def files(self) -> Path: ...

    def kill(self) -> None:
        """SIGKILL."""
        ...

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start again on the same data; `settings` are laid over its own."""
        ...


@dataclass(frozen=True)
class Backup:
    """A way to copy the data of a running server into a folder, and to start on that copy."""

    take: Callable[[Server, Path], None]
    restore: Callable[[Server, Path], None]


def take_of_cluster(backup: Backup, cluster: Cluster, folder: Path) -> None:
    """One backup of each master, in a folder with the name of its slots."""
    for master in cluster.masters():
        of_master = folder / str(min(cluster.slots_of(master)))
        of_master.mkdir()
        backup.take(master, of_master)


def restore_of_cluster(backup: Backup, cluster: Cluster, folder: Path) -> None:
    """Each master gets the backup of its slots. The replicas start without data, after it."""
    # While nodes disagree about a master, the backup may go to its replica, which drops it.
    cluster.settle()
    masters = {cluster.owner_of(int(each.name)): each for each in folder.iterdir()}
    replicas = [node for node in cluster.nodes if node not in masters]
    for replica in replicas:
        _empty(replica)
    # Before one of them is back, no other one may vote for a replica.
    for master in masters:
        master.kill()
    for master, of_master in masters.items():
        backup.restore(master, of_master)
    for replica in replicas:
        replica.start()
    cluster.settle()


def restore_of_sentinels(backup: Backup, watched: Watched, folder: Path) -> None:
    """The primary gets the backup. The replica starts without data, after it."""
    primary, replica = watched.primary, watched.replica
    for sentinel in watched.sentinels:
        sentinel.pause()
    _empty(replica)
    backup.restore(primary, folder)
    replica.start()
    for sentinel in watched.sentinels:
        sentinel.resume()
    watched.become_whole()


def _take(block: int) -> Callable[[Server, Path], None]:
    """Run a block of the document's commands in the server's folder."""

    def take(server: Server, folder: Path) -> None:
        with tempfile.TemporaryDirectory() as programs:
            client = Path(programs) / "redis-cli"
            client.write_text(_CLIENT.format(python=sys.executable), "utf-8")
            client.chmod(0o700)
            variables = {"URL": server.url, "PATH": f"{programs}:{os.environ['PATH']}"}
            subprocess.run(
                ["/bin/sh", "-ec", _COMMANDS[block].replace("/backups", str(folder))],
                cwd=server.files,
                env={**os.environ, **variables},
                check=True,
                timeout=60,
            )

    return take


def _restore_snapshot(server: Server, folder: Path) -> None:
    """With an append-only file, a server would not look at the snapshot."""
    _empty(server)
    shutil.copy(folder / _SNAPSHOT, server.files)
    server.start({"appendonly": "no"})
    with redis.Redis.from_url(server.url) as admin:
        admin.config_set("appendonly", "yes")
        wait_until_sync(lambda: _has_begun_file(admin), description="the append-only file")


def _has_begun_file(admin: redis.Redis) -> bool:
    about = admin.info("persistence")
    return bool(about["aof_enabled"]) and not (
        about["aof_rewrite_in_progress"] or about["aof_rewrite_scheduled"]
    )


def _restore_append_only(server: Server, folder: Path) -> None:
    _empty(server)
    shutil.copytree(folder / _APPEND_ONLY, server.files / _APPEND_ONLY)
    server.start()


def _empty(server: Server) -> None:
    """Kill the server, and remove its data, but not what a node knows of its cluster."""
    server.kill()
    (server.files / _SNAPSHOT).unlink(missing_ok=True)
    shutil.rmtree(server.files / _APPEND_ONLY)


SNAPSHOT = Backup(_take(0), _restore_snapshot)
APPEND_ONLY = Backup(_take(1), _restore_append_only)
