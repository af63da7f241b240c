"""HAProxy with the shipped configuration, which is led to other processes as its unit does."""

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.deploy.front import listens, written
from tests.support.deployment import port_of
from tests.support.wait import wait_until
from tickertape.cli.up.spawn import spawn, stop


class Balancer:
    """Runs until `close`. Streams are plain HTTP, because TLS ends before anything of interest."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self._backends = _backends(ports)
        self._front = written("haproxy", folder, self._backends)
        self._config = folder / "haproxy.cfg"
        self._processes: list[subprocess.Popen[bytes]] = []
        port = port_of(self._front.url)
        self.url = f"http://127.0.0.1:{port}"
        text = self._config.read_text("utf-8")
        lines = [line for line in text.splitlines() if "redirect scheme" not in line]
        tls = f" ssl crt {folder / 'both.pem'} alpn h2,http/1.1"
        assert tls in text
        self._config.write_text("\n".join(lines).replace(tls, "") + "\n", "utf-8")

    async def start(self) -> None:
        """Accept connections, in place of the process before, which ends with its last stream."""
        before = self._processes[-1:]
        hand_over = ["-sf", str(before[0].pid)] if before else []
        with (self._front.folder / "haproxy.log").open("ab") as log:
            argv = [*self._front.run, *hand_over]
            self._processes.append(
                spawn(argv, cwd=self._front.folder, env={**os.environ}, stdout=log, stderr=log)
            )
        port = port_of(self.url)
        await wait_until(lambda: listens(port), description="HAProxy listens")

    async def lead_to(self, ports: Sequence[int], *, streams_end_within_s: float) -> None:
        """Send new calls to other processes. Returns when the last stream to the old ones ended."""
        text = self._config.read_text("utf-8")
        for old, new in zip(self._backends, _backends(ports), strict=True):
            text = text.replace(old, new)
        self._config.write_text(text, "utf-8")
        self._backends = _backends(ports)
        await self.start()
        old_process = self._processes[-2]
        assert await asyncio.to_thread(old_process.wait, streams_end_within_s) == 0

    def close(self) -> None:
        """End at once."""
        for process in self._processes:
            stop(process, grace_s=1)


def _backends(ports: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"127.0.0.1:{port}" for port in ports)
