"""Checks that an address is free before any process is started."""

import socket

from tickertape.cli.exits import CommandFailed, Exit


def find_port(host: str, port: int) -> int:
    """`port`, or any free port for 0. Raises CommandFailed if no server can listen there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            # As the API does: connections of an earlier server may linger on its port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            bound: int = probe.getsockname()[1]
            return bound
    except OSError as error:
        raise CommandFailed(
            f"cannot listen on {host} port {port}: {error.strerror or error}."
            " Choose another port with --port, or stop the program that uses this one.",
            Exit.USAGE,
        ) from None
