"""A Redis with TLS, as docs/redis.md describes it: its lines are run as they stand there."""

import re
import subprocess
from pathlib import Path

_SECTION = Path("docs/redis.md").read_text("utf-8").partition("## TLS")[2].partition("\n## ")[0]
_COMMANDS = re.findall(r"^\$ (.+)$", _SECTION, re.MULTILINE)
_SERVER = dict(re.findall(r"^(tls-\S+) (\S+)$", _SECTION, re.MULTILINE))
# The embedded Valkey is built without TLS.
TLS_PROGRAM = Path("/usr/bin/redis-server")


def make_certificates(folder: Path) -> None:
    """An authority and a certificate for `localhost`, made by the document's commands."""
    for command in _COMMANDS:
        subprocess.run(["/bin/sh", "-c", command], cwd=folder, check=True, capture_output=True)


def tls_settings(certificates: Path, port: int) -> dict[str, str]:
    """The document's settings of a server that listens with TLS on `port`.

    The plain port stays open for the rig, which asks there whether the server is up.
    """
    settings = {
        name: str(certificates / value) if value.endswith((".crt", ".key")) else value
        for name, value in _SERVER.items()
    }
    return {**settings, "tls-port": str(port)}
