"""nchan: nginx's publish and subscribe in C, with its memory store, fed over HTTP.

https://nchan.io; Debian and Ubuntu have it as libnginx-mod-nchan.
"""

import contextlib
import itertools
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bench.box import Box
from bench.peers.peer import Absent
from bench.source import publish
from tests.support.wait import wait_until
from tickertape.cli.up.spawn import spawn, stop

_MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/lib/nginx/modules")
# One worker, because it has one core. The buffer holds a whole round, so that a slow client gets
# all events late and loses none.
_CONFIG = """
load_module {module};
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log error.log crit;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 1000000000;
    nchan_shared_memory_size 2048m;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/publish/(\\w+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_message_buffer_length 6000;
            nchan_message_timeout 60s;
        }}
        location ~ ^/read/(\\w+)$ {{
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message oldest;
        }}
    }}
}}
"""


class Nchan:
    """Channels of one nginx."""

    name = "nchan"

    def __init__(self, box: Box, pid: int, port: int) -> None:
        self.port = port
        self.pids = [pid]
        self._box = box
        self._numbers = itertools.count()
        self._channels: list[str] = []

    async def open(self, count: int) -> list[str]:
        """The paths of new channels. A channel exists from its first reader on."""
        self._channels = [f"c{next(self._numbers)}" for _ in range(count)]
        return [f"/read/{channel}" for channel in self._channels]

    async def publish(self, *, rate: float, events: int, group: int = 1) -> None:
        """Publish over 64 persistent connections, each with one message at a time."""
        del group
        targets = [f"/publish/{channel}" for channel in self._channels]
        await publish(self._box, "http", self.port, targets, rate=rate, events=events)

    async def close(self) -> None:
        """Does nothing, because messages expire."""


@contextlib.asynccontextmanager
async def running(box: Box) -> AsyncIterator[Nchan]:
    """Run nginx with nchan until the end of the block. Raises Absent."""
    nginx, module = shutil.which("nginx"), _module()
    if nginx is None or module is None:
        raise Absent("nchan is not installed (Debian, Ubuntu: apt-get install libnginx-mod-nchan)")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    directory = Path(tempfile.mkdtemp(prefix="nchan-", dir=box.directory))
    config = directory / "nginx.conf"
    config.write_text(_CONFIG.format(module=module, port=port), "ascii")
    with box.on_server_core():
        process = spawn(
            [nginx, "-p", directory, "-c", config, "-e", directory / "error.log"], cwd=directory
        )
    try:
        await wait_until(lambda: _listens(port), description="nginx to listen")
        yield Nchan(box, process.pid, port)
    finally:
        stop(process)


def _module() -> Path | None:
    found = (Path(folder) / "ngx_nchan_module.so" for folder in _MODULES)
    return next((path for path in found if path.exists()), None)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
