"""Whether an address can be listened on, asked before anything is started."""

import socket

from tickertape.cli.exits import CommandFailed, Exit


def find_port(host: str, port: int) -> int:
    """A port that can be listened on: `port`, or any for 0. Raises CommandFailed naming why not."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            # As servers do: connections of the one before may linger on its port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            bound: int = probe.getsockname()[1]
            return bound
    except OSError as error:
        raise CommandFailed(
            f"cannot listen on {host} port {port}: {error.strerror or error}."
            " Choose another with --port, or end what uses it.",
            Exit.USAGE,
        ) from None
