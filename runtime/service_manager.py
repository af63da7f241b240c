"""What this process and systemd say to each other: readiness, signs of life, and open sockets.

The protocols are those of sd_notify(3) and sd_listen_fds(3), which other service managers speak as
well. Without such a manager, nothing is said.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

from tickertape.broker.errors import SettingsInvalid

READY, STOPPING, _ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"
_FIRST_DESCRIPTOR = 3


def notify(state: str) -> None:
    """Report a state, such as READY. A manager that does not listen is no fault of this process."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract address
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
    ):
        # A manager that is busy must not stop an event loop.
        channel.setblocking(False)  # noqa: FBT003  # its parameter has no name
        channel.connect(address)
        channel.send(state.encode())


def watchdog_interval_s() -> float | None:
    """How often the manager wants a sign of life of this process; None if it wants none."""
    limit_us = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not limit_us.isdigit() or not int(limit_us) or pid not in {"", str(os.getpid())}:
        return None
    # Half of the limit, as sd_watchdog_enabled(3) advises.
    return int(limit_us) / 1_000_000 / 2


async def keep_watchdog(is_alive: Callable[[], bool] = lambda: True) -> None:
    """Give signs of life while `is_alive`; returns at once if the manager wants none.

    An event loop that hangs gives none, so that the manager kills the process and starts it again.
    """
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        if is_alive():
            notify(_ALIVE)
        await asyncio.sleep(interval_s)


def beat_watchdog() -> None:
    """Give one sign of life, for a loop that is not asyncio's."""
    if watchdog_interval_s() is not None:
        notify(_ALIVE)


def inherited_sockets() -> list[socket.socket]:
    """The listening sockets that the manager opened for this process; none without a manager.

    Raises SettingsInvalid for a socket of another kind. A second call returns no socket.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    return [_listening(number) for number in _descriptors(int(count))]


def _descriptors(count: int) -> range:
    return range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count)


def _listening(descriptor: int) -> socket.socket:
    try:
        inherited = socket.socket(fileno=descriptor)
    except OSError:
        raise _not_usable(descriptor) from None
    is_tcp = inherited.family in {socket.AF_INET, socket.AF_INET6}
    if not is_tcp or not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        inherited.detach()
        raise _not_usable(descriptor)
    inherited.set_inheritable(False)
    return inherited


def _not_usable(descriptor: int) -> SettingsInvalid:
    return SettingsInvalid(
        f"LISTEN_FDS: descriptor {descriptor} is not a listening TCP socket: write"
        " ListenStream=ADDRESS:PORT in the socket unit"
    )
