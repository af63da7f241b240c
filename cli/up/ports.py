"""Checks that an address is free before any process is started."""

import errno
import socket

from tickertape.cli.exits import CommandFailed, Exit

_NEXT_PORTS = 20


def find_port(host: str, port: int, *, typed: str = "") -> int:
    """`port`, or any free port for 0. Raises CommandFailed if no server can listen there.

    The error names a free port in the words of the command `typed`: `make run` takes PORT=.
    """
    try:
        return _bind(host, port)
    except OSError as error:
        reason = f"cannot listen on {host} port {port}: {error.strerror or error}."
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise CommandFailed(f"{reason} Correct --host.", Exit.USAGE) from None
        free = _free_port_after(host, port)
        option = f"{typed} PORT={free}" if typed else f"--port {free}"
        raise CommandFailed(
            f"{reason} Choose another port: {option}. Or stop the program that uses this one.",
            Exit.USAGE,
        ) from None


def _bind(host: str, port: int) -> int:
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind) as probe:
        # As the API does: connections of an earlier server may linger on its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        bound: int = probe.getsockname()[1]
        return bound


def _free_port_after(host: str, port: int) -> int:
    first = port + 1 if port >= 1024 else 8000
    for candidate in range(first, min(first + _NEXT_PORTS, 65536)):
        try:
            return _bind(host, candidate)
        except OSError:
            continue
    return 0
