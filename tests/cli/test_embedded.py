"""The embedded server: started, joined, killed, and refused with a helpful error."""

import contextlib
import fcntl
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import tickertape.cli.up.valkey
from tests.support.servers import ValkeyServer, valkey_server
from tests.support.wait import wait_until_sync
from tickertape.cli.up.service import Service
from tickertape.cli.up.valkey import (
    EmbeddedServer,
    EmbeddedServerError,
    embedded_server,
    find_server,
)

# An owner in a process of its own: prints its server's pid (or "joined") and URL, then waits.
OWNER = """
import sys, time
from pathlib import Path
import tickertape.cli.up.spawn
from tickertape.cli.up.valkey import embedded_server
if sys.argv[2]:
    tickertape.cli.up.spawn._LIBC = None
with embedded_server(Path(sys.argv[1])) as server:
    print(server.process.pid if server.process else "joined", server.url, flush=True)
    sys.stdin.read()
"""

NO_RETRIES = Retry(NoBackoff(), 0)


def connect(server: EmbeddedServer | ValkeyServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


@contextlib.contextmanager
def owner_process(
    data_dir: Path, how: str = ""
) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Another process that runs `embedded_server`, with what it printed: pid and URL."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        pid, url = process.stdout.readline().split()
        try:
            yield process, pid, url
        finally:
            process.kill()


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_it_answers_within_two_seconds(tmp_path: Path) -> None:
    started_s = time.monotonic()
    with embedded_server(tmp_path) as server, connect(server) as client:
        assert client.ping()
        assert time.monotonic() - started_s < 2
        assert server.exit_code() is None
    assert server.exit_code() == 0


def test_an_orderly_restart_keeps_the_data_and_the_url(tmp_path: Path) -> None:
    with embedded_server(tmp_path) as first, connect(first) as client:
        client.xadd("log", {"text": "kept"}, id="1-0")
    with embedded_server(tmp_path) as second, connect(second) as client:
        assert client.xrange("log") == [("1-0", {"text": "kept"})]
        assert second.url == first.url


def test_a_killed_server_keeps_what_it_synced(own_redis: ValkeyServer) -> None:
    url = own_redis.url
    with connect(own_redis) as client:
        client.set("k", "kept")
        client.execute_command("WAITAOF", 1, 0, 5000)
    own_redis.kill()
    own_redis.start()
    assert own_redis.url == url
    with connect(own_redis) as client:
        assert client.get("k") == "kept"


def test_a_paused_server_answers_again_when_resumed(own_redis: ValkeyServer) -> None:
    with redis.Redis.from_url(own_redis.url, socket_timeout=0.1, retry=NO_RETRIES) as client:
        client.ping()
        own_redis.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        own_redis.resume()
        assert client.ping()


def test_the_end_of_the_server_is_seen(own_redis: ValkeyServer) -> None:
    server = own_redis.process
    server.kill()
    assert wait_until_sync(server.poll, description="the server's end") == -signal.SIGKILL


def test_a_second_process_joins_and_leaves_the_server_running(tmp_path: Path) -> None:
    with embedded_server(tmp_path) as server:
        with owner_process(tmp_path) as (other, pid, url):
            assert (pid, url) == ("joined", server.url)
            other.communicate()  # closes its stdin, and so ends it in order
            assert other.returncode == 0
        with connect(server) as client:
            assert client.ping()


def test_a_joined_server_has_no_process(tmp_path: Path) -> None:
    with embedded_server(tmp_path), embedded_server(tmp_path) as joined:
        assert joined.process is None
        assert joined.exit_code() is None


def test_a_joined_server_counts_as_ended_when_its_owner_was_killed(tmp_path: Path) -> None:
    service = Service("redis", lambda: embedded_server(tmp_path), lambda _: {})
    with owner_process(tmp_path) as (owner, _, url), contextlib.ExitStack() as stack:
        stack.callback(service.stop)
        service.start()
        assert (service.server.process, service.exit_code()) == (None, None)
        with connect(service.server) as client:
            client.set("k", "kept")
        owner.kill()
        wait_until_sync(lambda: service.exit_code() == 0, description="the owner's end")
        service.start()
        assert service.server.process is not None
        assert service.server.url == url
        with connect(service.server) as client:
            assert client.get("k") == "kept"


@pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's death is Linux's")
def test_the_server_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    with owner_process(tmp_path) as (owner, pid, _):
        assert is_running(int(pid))
        owner.kill()
        wait_until_sync(lambda: not is_running(int(pid)), description="the server's end")


@pytest.mark.parametrize("how", ["", "without the kernel's signal"])
def test_the_next_owner_never_joins_the_server_of_a_killed_one(tmp_path: Path, how: str) -> None:
    with owner_process(tmp_path, how) as (owner, old_pid, url):
        with redis.Redis.from_url(url) as client:
            client.set("k", "kept")
        owner.kill()
        owner.wait()
        with embedded_server(tmp_path) as server, connect(server) as client:
            assert server.process is not None
            assert not is_running(int(old_pid))
            assert client.get("k") == "kept"


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(own_redis: ValkeyServer) -> None:
    pid = own_redis.process.pid
    assert os.getsid(pid) == pid != os.getsid(0)


def test_the_server_needs_the_password_from_its_private_folder(tmp_path: Path) -> None:
    with embedded_server(tmp_path) as server:
        assert (tmp_path / "redis").stat().st_mode & 0o777 == 0o700
        with (
            redis.Redis(port=server.port, retry=NO_RETRIES) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_the_password_is_in_no_command_line_log_or_repr(tmp_path: Path) -> None:
    with embedded_server(tmp_path) as server:
        password = (tmp_path / "redis" / "password").read_text()
        assert len(password) > 30
        assert password in server.url
        assert server.process is not None
        assert password not in Path(f"/proc/{server.process.pid}/cmdline").read_text()
        assert password not in server.log_path.read_text()
        assert password not in repr(server)


def test_it_listens_on_loopback_only_and_never_evicts() -> None:
    # The fixture `own_redis` has another appendfsync.
    with valkey_server(append_only=True) as server, connect(server) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("append*") == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "appendfilename": "appendonly.aof",
            "appenddirname": "appendonlydir",
        }


def test_a_data_folder_may_have_any_name(tmp_path: Path) -> None:
    with embedded_server(tmp_path / 'a "quoted" näme\\') as server, connect(server) as client:
        assert client.ping()


def test_a_port_in_use_is_replaced(tmp_path: Path) -> None:
    with embedded_server(tmp_path) as first:
        pass
    with socket.create_server(("127.0.0.1", first.port)), embedded_server(tmp_path) as second:
        assert second.port != first.port


def test_a_port_bound_just_before_the_server_binds_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = squatter.getsockname()[1]
        real, asked = tickertape.cli.up.valkey._free_port, list[int]()

        def sees_it_free_at_first(preferred: int) -> int:
            asked.append(preferred)
            return taken if len(asked) == 1 else real(preferred)

        monkeypatch.setattr(tickertape.cli.up.valkey, "_free_port", sees_it_free_at_first)
        with embedded_server(tmp_path) as server, connect(server) as client:
            assert client.ping()
            assert server.port != taken


@pytest.mark.slow
def test_loading_much_data_may_take_longer_than_the_start_timeout(tmp_path: Path) -> None:
    with embedded_server(tmp_path) as server, connect(server) as client:
        client.mset({f"k{n}": n for n in range(4000)})
        client.bgrewriteaof()
        wait_until_sync(
            lambda: (
                client.info("persistence")["aof_rewrite_in_progress"] == 0
                and client.info("persistence")["aof_rewrite_scheduled"] == 0
            ),
            description="the append-only file is rewritten",
        )
    slow = {"key-load-delay": "250", "loading-process-events-interval-bytes": "1024"}
    started_s = time.monotonic()
    with (
        embedded_server(tmp_path, settings=slow, start_timeout_s=0.5) as server,
        connect(server) as client,
    ):
        assert time.monotonic() - started_s > 0.5
        assert client.dbsize() == 4000


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match=r"cannot keep data in .*file.*REDIS_URL"):
        embedded_server(tmp_path / "file").__enter__()


def test_an_owner_without_a_server_is_reported(tmp_path: Path) -> None:
    with embedded_server(tmp_path):
        pass
    with (tmp_path / "redis" / "owner.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedServerError, match="in use by another process"):
            embedded_server(tmp_path, start_timeout_s=0.05).__enter__()


def test_a_server_without_an_owner_that_does_not_end_is_reported(tmp_path: Path) -> None:
    with embedded_server(tmp_path):
        pass
    with (tmp_path / "redis" / "server.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedServerError, match="a server that nobody owns"):
            embedded_server(tmp_path, start_timeout_s=0.05).__enter__()


def test_a_server_that_ends_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"(?s)exit code 1.*no-such-setting"):
        embedded_server(tmp_path, settings={"no-such-setting": "1"}).__enter__()


def program(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(0o755)
    return path


def test_a_program_for_another_machine_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = program(tmp_path / "valkey-server", "\x7fELF of another machine")
    monkeypatch.setattr(tickertape.cli.up.valkey, "find_server", lambda: foreign)
    with pytest.raises(EmbeddedServerError, match=r"cannot run .*Exec format error.*REDIS_URL"):
        embedded_server(tmp_path).__enter__()


def test_a_silent_server_is_ended_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = program(tmp_path / "silent", f"#!/bin/sh\necho $$ > {tmp_path}/pid; exec sleep 60\n")
    monkeypatch.setattr(tickertape.cli.up.valkey, "find_server", lambda: silent)
    with pytest.raises(EmbeddedServerError, match=r"silent for 0.3 s"):
        embedded_server(tmp_path, start_timeout_s=0.3).__enter__()
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_without_the_wheel_a_server_on_the_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match=r"no Redis server to start.*REDIS_URL"):
        find_server()
    on_path = program(tmp_path / "redis-server", "#!/bin/sh\n")
    assert find_server() == on_path


def test_a_wheel_installed_without_mode_bits_is_made_executable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "valkey-server"
    binary.touch(mode=0o644)
    assert os.access(tickertape.cli.up.valkey._executable(binary), os.X_OK)


def test_given_settings_override_the_configuration() -> None:
    with valkey_server(settings={"maxmemory": "64mb"}) as server, connect(server) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(64 * 1024**2)}
        assert client.config_get("appendonly") == {"appendonly": "no"}
