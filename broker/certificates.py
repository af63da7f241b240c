"""The files of certificates that a process uses with Redis over TLS. They may be replaced any time.

redis-py reads them once for each connection object, which may outlive many connections, and needs
all of them at each moment.
"""

from pathlib import Path
from ssl import SSLContext
from typing import Protocol

import structlog

from tickertape.runtime.file_stamp import FileStamp, stamp_of

log = structlog.get_logger()


class TlsFiles(Protocol):
    """redis-py's description of TLS: names of files, and what was made of them."""

    certfile: str | None
    keyfile: str | None
    ca_certs: str | None
    context: SSLContext | None

    def get(self) -> SSLContext:
        """Read the files, unless `context` is set."""


class Certificates:
    """What all connections of a process share, which have the same files."""

    def __init__(self) -> None:
        self._stamps: list[FileStamp | None] = []
        self._context: SSLContext | None = None
        self.is_refused = False
        """Whether the files hold something else than what is in use."""

    def renew(self, tls: TlsFiles) -> None:
        """Set the context of a connection before its connect.

        The files are read again if they have changed. While they do not fit together, or cannot be
        read, those that were read before stay in use. Raises OSError if there are none.
        """
        paths = (tls.certfile, tls.keyfile, tls.ca_certs)
        stamps = [stamp_of(Path(path)) if path else None for path in paths]
        if stamps != self._stamps:
            tls.context = None
            self.is_refused = False
            try:
                self._context = tls.get()
            except OSError as error:
                if self._context is None:
                    raise
                self.is_refused = True
                reason = error.strerror or type(error).__name__
                log.warning("certificates were not replaced", reason=reason)
            self._stamps = stamps
        tls.context = self._context
