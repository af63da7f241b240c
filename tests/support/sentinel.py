"""A primary, a replica and three Sentinels on loopback, all with passwords."""

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import redis

from tests.support.servers import in_memory, open_port, server_program
from tests.support.wait import wait_until_sync
from tickertape.cli.up.spawn import spawn, stop

NAME = "main"
DOWN_AFTER_MS = 1000
PASSWORD = "sesame"
# Longer than the Sentinels take to demote a primary that was replaced: 8 s, and a pause before it.
_HELD_BACK_MS = 20_000
_HOST, _SENTINEL_PASSWORD = "127.0.0.1", "open"


class Member:
    """One server or Sentinel, with the same port over all restarts."""

    def __init__(self, directory: Path, lines: list[str], password: str, *options: str) -> None:
        self.port = open_port()
        directory.mkdir()
        self.files = directory
        self.url = f"redis://:{password}@{_HOST}:{self.port}"
        self._config = directory / "member.conf"
        self._config.write_text("\n".join([f"port {self.port}", f"bind {_HOST}", *lines]))
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(_HOST, self.port, password=password, protocol=2)

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start, or start again with the configuration that fail-overs have changed."""
        laid_over = [
            part for name, value in (settings or {}).items() for part in (f"--{name}", value)
        ]
        with (self.files / "log").open("ab") as log:
            self._process = spawn(
                [server_program(), str(self._config), *self._options, *laid_over],
                cwd=self.files,
                stdout=log,
                stderr=log,
            )
        wait_until_sync(self._answers, description=f"port {self.port} answers")

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def start_if_killed(self) -> None:
        """Start after a `kill`."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def close(self) -> None:
        """End in order."""
        self.client.close()
        if self._process is not None:
            self.resume()
            stop(self._process)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.client.ping())
        return False


class Watched:
    """The servers and their Sentinels. `url` is what Tickertape is given."""

    def __init__(self, directory: Path, *, failover_timeout_ms: int = 6000) -> None:
        server = [
            f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", "appendonly yes", 'save ""',
            "repl-diskless-sync-delay 0", "dir ./",
        ]  # fmt: skip
        first = Member(directory / "a", server, PASSWORD)
        second = Member(directory / "b", [*server, f"replicaof {_HOST} {first.port}"], PASSWORD)
        self.servers = {first.port: first, second.port: second}
        watch = [
            f"requirepass {_SENTINEL_PASSWORD}",
            f"sentinel sentinel-pass {_SENTINEL_PASSWORD}",
            f"sentinel monitor {NAME} {_HOST} {first.port} 2",
            f"sentinel auth-pass {NAME} {PASSWORD}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} {failover_timeout_ms}",
            "dir ./",
        ]
        self.sentinels = [
            Member(directory / f"s{n}", watch, _SENTINEL_PASSWORD, "--sentinel") for n in range(3)
        ]

    @property
    def url(self) -> str:
        hosts = ",".join(f"{_HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return (
            f"redis+sentinel://:{PASSWORD}@{hosts}/{NAME}/0?sentinel_password={_SENTINEL_PASSWORD}"
        )

    @property
    def primary(self) -> Member:
        """The server that the first Sentinel names."""
        return self.servers[self._state()["port"]]

    def primary_url(self) -> str:
        """The URL of the primary as one server."""
        return self.primary.url

    @property
    def replica(self) -> Member:
        """The other server."""
        return next(each for each in self.servers.values() if each is not self.primary)

    def start(self) -> None:
        """Start everything, and wait until a fail-over is possible."""
        for member in (*self.servers.values(), *self.sentinels):
            member.start()
        self.become_whole()

    def become_whole(self) -> None:
        """Wait until a fail-over is possible."""
        wait_until_sync(self.is_whole, timeout_s=30, description="the Sentinels to know all")

    def is_whole(self) -> bool:
        """Whether each Sentinel knows the others and a replica that is in sync."""
        states = [self._state(sentinel) for sentinel in self.sentinels]
        known = [
            (state["num-other-sentinels"], state["num-slaves"], state["flags"]) for state in states
        ]
        link = self.replica.client.info("replication").get("master_link_status")
        return known == [(2, 1, "master")] * 3 and link == "up"

    def fail_over(self) -> None:
        """Planned: ask a Sentinel to promote the replica. Returns before it is done."""
        wait_until_sync(self._takes_orders, timeout_s=30, description="a fail-over to begin")

    def hand_over(self) -> None:
        """Planned, and without a loss: writes wait until Tickertape has found the new primary.

        The old primary would take writes until the Sentinels demote it, which is seconds later.
        """
        primary, replica = self.primary, self.replica
        primary.client.execute_command("CLIENT", "PAUSE", _HELD_BACK_MS, "WRITE")  # type: ignore[no-untyped-call]  # bare in redis-py
        self.fail_over()
        wait_until_sync(lambda: self.primary is replica, timeout_s=60, description="the promotion")

    def wait_for_copies(self) -> None:
        """Wait until the replica has every write so far."""
        assert self.primary.client.wait(1, 5000) == 1

    def close(self) -> None:
        for member in (*self.sentinels, *self.servers.values()):
            member.close()

    def follow(self, server: Member, primary: Member) -> None:
        """Make a server a replica at once, which the Sentinels do after eight seconds."""
        server.client.replicaof(_HOST, primary.port)

    def _takes_orders(self) -> bool:
        with contextlib.suppress(redis.ResponseError):
            self.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", NAME)  # type: ignore[no-untyped-call]  # bare in redis-py
            return True
        return False

    def _state(self, sentinel: Member | None = None) -> dict[str, Any]:
        state = (sentinel or self.sentinels[0]).client.sentinel_master(NAME)
        assert isinstance(state, dict)
        return state


@contextlib.contextmanager
def watched_servers(*, failover_timeout_ms: int = 6000) -> Iterator[Watched]:
    """Run the servers and the Sentinels for the length of the block.

    Sentinels begin two fail-overs at least twice `failover_timeout_ms` apart.
    """
    with tempfile.TemporaryDirectory(prefix="tickertape-test-", dir=in_memory()) as directory:
        watched = Watched(Path(directory), failover_timeout_ms=failover_timeout_ms)
        try:
            watched.start()
            yield watched
        finally:
            watched.close()
