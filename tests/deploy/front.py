"""nginx, HAProxy and Caddy, each with its file of docs/deploy/, in front of API processes.

The files run as they are, except for names, addresses and ports, which `Front` replaces. A text to
replace that is not in the file fails the test, so the files and the tests cannot drift apart.
"""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.deployment import port_of
from tests.support.servers import open_port
from tests.support.wait import wait_until
from tickertape.cli.up.spawn import spawn, stop

FILES = Path(__file__).parents[2] / "docs" / "deploy"
BACKENDS = ("10.0.0.11:8000", "10.0.0.12:8000")

_NGINX_MAIN = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    {paths}
    include {folder}/tickertape.conf;
}}
"""
_NGINX_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class Certificate:
    """A certificate of `localhost`, which is its own authority."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Trusts this certificate only."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make_certificate(folder: Path) -> Certificate:
    made = Certificate(folder / "server.crt", folder / "server.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(made.key), "-out", str(made.certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return made


@dataclass(frozen=True)
class Front:
    """A proxy's configuration in a folder: the command that checks it, and the one that runs it."""

    name: str
    folder: Path
    url: str
    check: list[str]
    run: list[str]
    environment: Mapping[str, str]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The proxy, until the end of the block."""
        log = self.folder / f"{self.name}.log"
        with log.open("wb") as output:
            process = spawn(
                self.run,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=output,
            )
        try:
            port = port_of(self.url)
            await wait_until(lambda: listens(port), description=f"{self.name} to listen")
            yield
        finally:
            stop(process, grace_s=2)
            sys.stdout.write(
                f"--- {self.name}\n{log.read_text()}"
            )  # pytest shows it after a failure


def listens(port: int) -> bool:
    """Whether a program listens on the port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def program(name: str) -> str:
    """The path of a program; skips the test where it is missing."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def written(
    name: str, folder: Path, backends: tuple[str, ...] = BACKENDS, *, prefix: str = ""
) -> Front:
    """The shipped configuration of the proxy `name`, with these API processes behind it.

    With a prefix such as /llm, the comment's change for a prefix is made.
    """
    at = _Place(
        executable=program(name),
        folder=folder,
        made=make_certificate(folder),
        port=open_port(),
        plain_port=open_port(),
        backends=_pair(backends),
        prefix=prefix,
    )
    check, run = {"nginx": _nginx, "haproxy": _haproxy, "caddy": _caddy}[name](at)
    environment = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return Front(name, folder, f"https://localhost:{at.port}", check, run, environment)


def _pair(backends: tuple[str, ...]) -> dict[str, str]:
    # A single API stands in both lines.
    return dict(zip(BACKENDS, (backends * 2)[:2], strict=True))


_Commands = tuple[list[str], list[str]]


@dataclass(frozen=True)
class _Place:
    """Where a proxy runs in place of where its shipped file says, and what stands behind it."""

    executable: str
    folder: Path
    made: Certificate
    port: int
    plain_port: int
    backends: Mapping[str, str]
    prefix: str


def _nginx(at: _Place) -> _Commands:
    text = _replaced(
        "nginx.conf",
        {
            **at.backends,
            "listen 443 ssl http2": f"listen 127.0.0.1:{at.port} ssl http2",
            "listen 80;": f"listen 127.0.0.1:{at.plain_port};",
            "server_name chat.example.com;": "server_name localhost;",
            "/etc/nginx/tickertape.crt": str(at.made.certificate),
            "/etc/nginx/tickertape.key": str(at.made.key),
            **({"location / {": f"location {at.prefix}/ {{"} if at.prefix else {}),
        },
    )
    (at.folder / "tickertape.conf").write_text(text, "utf-8")
    paths = " ".join(f"{each}_temp_path {at.folder}/{each};" for each in _NGINX_PATHS)
    main = at.folder / "nginx.conf"
    main.write_text(_NGINX_MAIN.format(folder=at.folder, paths=paths), "utf-8")
    run = [at.executable, "-p", str(at.folder), "-c", str(main)]
    return [*run, "-t"], run


def _haproxy(at: _Place) -> _Commands:
    both = at.folder / "both.pem"
    both.write_text(at.made.certificate.read_text() + at.made.key.read_text(), "utf-8")
    under = f"if {{ path_beg {at.prefix}/ }}"
    text = _replaced(
        "haproxy.cfg",
        {
            **at.backends,
            "bind :443": f"bind 127.0.0.1:{at.port}",
            "bind :80": f"bind 127.0.0.1:{at.plain_port}",
            "/etc/haproxy/tickertape.pem": str(both),
            **(
                {"use_backend tickertape\n": f"use_backend tickertape {under}\n"}
                if at.prefix
                else {}
            ),
        },
    )
    config = at.folder / "haproxy.cfg"
    config.write_text(text, "utf-8")
    run = [at.executable, "-f", str(config)]
    return [*run, "-c"], [*run, "-db"]


def _caddy(at: _Place) -> _Commands:
    tls = f"tls {at.made.certificate} {at.made.key}"
    text = _replaced(
        "Caddyfile",
        {
            **at.backends,
            # The test's certificate, in place of one that Caddy would ask an authority for.
            "chat.example.com {": f"localhost:{at.port} {{\n\t{tls}",
            "{\n\tservers {": "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {",
            **({"reverse_proxy ": f"reverse_proxy {at.prefix}/* "} if at.prefix else {}),
        },
    )
    config = at.folder / "Caddyfile"
    config.write_text(text, "utf-8")
    adapter = ["--config", str(config), "--adapter", "caddyfile"]
    return [at.executable, "validate", *adapter], [at.executable, "run", *adapter]


def _replaced(name: str, replacements: Mapping[str, str]) -> str:
    text = (FILES / name).read_text("utf-8")
    comments = [line for line in text.splitlines() if line.strip().startswith("#")]
    lines = "\n".join(line for line in text.splitlines() if line not in comments) + "\n"
    for old, new in replacements.items():
        assert old in lines, f"docs/deploy/{name} has no {old!r}"
        lines = lines.replace(old, new)
    return lines
