"""The receivers of webhooks as their file is now. A change of the file needs no restart."""

from pathlib import Path

import structlog

from tickertape.broker.errors import SettingsInvalid
from tickertape.deliver.events import Event
from tickertape.deliver.webhook_file import Receiver, read
from tickertape.runtime.file_stamp import stamp_of

log = structlog.get_logger()


class Receivers:
    """Raises SettingsInvalid if the file cannot be used at the start.

    A file that cannot be used later changes nothing, and is logged once for each change. Then
    `is_refused` is true.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = stamp_of(path)
        self._receivers = read(path)
        self.is_refused = False

    def of(self, principal: str, event: Event) -> list[Receiver]:
        """Those that get an event of a tenant, or of one of its users."""
        return [each for each in self._receivers.values() if each.gets(principal, event)]

    def named(self, name: str) -> Receiver | None:
        """The receiver of a name; None if the file does not have it any more."""
        return self._receivers.get(name)

    def look(self) -> None:
        """Read the file again if it has changed."""
        stamp = stamp_of(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._receivers = read(self._path)
            self.is_refused = False
        except SettingsInvalid as invalid:
            self.is_refused = True
            log.warning("the receivers of webhooks stay as they were", reason=str(invalid))
        else:
            log.info("the receivers of webhooks were read again", count=len(self._receivers))
