"""The audit log: whose call did what to which object, from where, and how it ended.

One JSON object a line, apart from the program's log. No line holds content: no query, body, key or
ticket. The ids of users are in it, and the names of conversations of calls that were served.
"""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Protocol, TextIO
from urllib.parse import urlsplit

import msgspec
import structlog
from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

from tickertape.api.edge.audit_names import IsKey, name_of, object_of
from tickertape.api.edge.caller import Caller
from tickertape.api.edge.route_scopes import needed_scope
from tickertape.broker.errors import SettingsInvalid

logger = structlog.get_logger("api")

STDOUT = "-"
_WARNED_EVERY_S = 60.0
_MOST_CHARS = 600
_REFUSED = 400


class AuditLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call. `action` is the scope that the call needs, and `object` what its path names.

    A call that made a request has its path as the object. `outcome` is the HTTP status; a call
    without one was ended by its client or by a stop.
    """

    time: str
    action: str
    method: str
    object: str
    address: str
    tenant: str | None = None
    key_id: str | None = None
    user: str | None = None
    by_ticket: bool = False
    outcome: int | None = None


class Sink(Protocol):
    """Takes the lines; raises OSError."""

    def write(self, line: bytes) -> None:
        """Write one line."""
        ...

    def close(self) -> None:
        """Let go of what the lines are written to."""
        ...


class FileSink:
    """A file that is opened again after it was moved, so that logrotate needs no signal.

    Several processes may append to one file, because each line is one write. Only the account of
    the process can read a file that is made here. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._open().close()

    def write(self, line: bytes) -> None:
        """Append one line."""
        if self._file is None or not self._is_in_place(self._file):
            self.close()
            self._file = self._open()
        self._file.write(line)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> FileIO:
        return FileIO(self._path, "a", opener=lambda path, flags: os.open(path, flags, 0o600))

    def _is_in_place(self, file: FileIO) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False


class StreamSink:
    """An output of the process."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: bytes) -> None:
        """Write one line at once."""
        self._stream.write(line.decode())
        self._stream.flush()

    def close(self) -> None:
        """Leave the output open."""


class Audit:
    """Writes a line when the head of a call's response is sent. A full disk refuses no call."""

    def __init__(
        self,
        sink: Sink,
        clock: Callable[[], float] = time.monotonic,
        is_key: IsKey = lambda _: False,
        root_path: str = "",
    ) -> None:
        self._sink = sink
        self._clock = clock
        self.is_key = is_key
        self.root_path = root_path
        self._warned_s = float("-inf")

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()

    def watch(self, scope: Scope, send: Send) -> "AuditedCall":
        """Note how a call ends."""
        return AuditedCall(self, scope, send)

    def write(self, line: AuditLine) -> None:
        """Write a line; a failure is logged once a minute."""
        try:
            self._sink.write(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            now_s = self._clock()
            if now_s - self._warned_s >= _WARNED_EVERY_S:
                self._warned_s = now_s
                logger.warning("the audit log cannot be written", reason=type(error).__name__)


class AuditedCall:
    """Passes the response on, and writes the line of its call once."""

    def __init__(self, audit: Audit, scope: Scope, send: Send) -> None:
        self._audit = audit
        self._scope = scope
        self._send = send
        self._is_written = False
        self.caller: Caller | None = None

    async def send(self, message: Message) -> None:
        """Send a message of the response."""
        if message["type"] == "http.response.start":
            location = Headers(raw=message.get("headers", [])).get("location")
            self.write(message["status"], location)
        await self._send(message)

    def leave_out(self) -> None:
        """Write no line for this call."""
        self._is_written = True

    def write(self, outcome: int | None = None, location: str | None = None) -> None:
        """Write the line, unless it is written."""
        if self._is_written:
            return
        self._is_written = True
        scope, caller = self._scope, self.caller
        client = scope.get("client")
        path = scope["path"]
        if location:
            # One request has one name, whether it is made or read.
            path = urlsplit(location).path.removeprefix(self._audit.root_path)
        is_key = self._audit.is_key
        is_served = caller is not None and outcome is not None and outcome < _REFUSED
        user = None if caller is None or caller.user is None else name_of(caller.user, is_key)
        self._audit.write(
            AuditLine(
                time=datetime.now(UTC).isoformat(timespec="milliseconds"),
                action=needed_scope(scope["method"], scope["path"]),
                method=scope["method"],
                object=object_of(path, is_key, is_served=is_served)[:_MOST_CHARS],
                address=client[0] if client else "",
                tenant=None if caller is None else caller.tenant,
                key_id=None if caller is None else caller.key_id,
                user=user,
                by_ticket=caller is not None and caller.only is not None,
                outcome=outcome,
            )
        )


def audit_of(
    setting: str | None, is_key: IsKey = lambda _: False, root_path: str = ""
) -> Audit | None:
    """The audit log of the settings: a file, `-` for stdout, None for none.

    `is_key` says which texts are keys in use. `root_path` stands in front of the paths that
    answers name. Raises SettingsInvalid if the file cannot be written.
    """
    if setting is None:
        return None
    if setting == STDOUT:
        return Audit(StreamSink(sys.stdout), is_key=is_key, root_path=root_path)
    try:
        return Audit(FileSink(Path(setting)), is_key=is_key, root_path=root_path)
    except OSError as error:
        raise SettingsInvalid(
            f"TICKERTAPE_AUDIT_LOG: {setting} cannot be written: {type(error).__name__}; "
            "name a file in a folder that exists, or - for stdout"
        ) from None
