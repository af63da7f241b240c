"""Looks once a second whether files of secrets have changed, and hands the new secrets on.

No call and no token waits for such a file. A secret that cannot be used does not replace the one in
use: the log has one line with the reason, and the file is tried again with growing pauses.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from tickertape.broker.errors import SettingsInvalid, Unavailable
from tickertape.runtime.conditions import Code, Condition
from tickertape.runtime.file_stamp import FileStamp, stamp_of
from tickertape.runtime.secret_files import SecretFile, read_secret
from tickertape.runtime.settings import Settings

logger = structlog.get_logger()

LOOK_S = 1.0
# A server that refuses a secret is not asked about it with every look.
_MOST_WAITED = 15

Use = Callable[[str], Awaitable[None]]
"""Uses a new secret from now on; raises SettingsInvalid or Unavailable if it cannot be used."""


class SecretWatch:
    """The files of one process. `run` looks until it is cancelled."""

    def __init__(self, settings: Settings, look_s: float = LOOK_S) -> None:
        self._files = settings.files
        self._look_s = look_s
        self._watched: list[_Watched] = []
        self._read_elsewhere: dict[str, Callable[[], bool]] = {}

    def on_change(self, name: str, use: Use) -> None:
        """Call `use` with each new secret of the variable `name`, if a file holds the secret."""
        if (file := self._files.get(name)) is not None:
            self._watched.append(_Watched(name, file, use))

    def watch(self, name: str, file: SecretFile, use: Use) -> None:
        """Call `use` with each new secret in a file that no variable names."""
        self._watched.append(_Watched(name, file, use))

    def note(self, name: str, is_refused: Callable[[], bool]) -> None:
        """Another part reads the file of `name`; `is_refused` says if its content is not in use."""
        self._read_elsewhere[name] = is_refused

    def conditions(self) -> list[Condition]:
        """The condition of a process whose files hold something else than what it uses.

        Such a process works on, and its next start may fail.
        """
        names = [
            *(each.name for each in self._watched if each.is_refused),
            *(name for name, is_refused in self._read_elsewhere.items() if is_refused()),
        ]
        if not names:
            return []
        words = f"The file of {', '.join(names)} has changed and cannot be used. The log says why."
        return [Condition(Code.SECRET_REFUSED, words)]

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await self.look()
            await asyncio.sleep(self._look_s)

    async def look(self) -> None:
        """Look at each file once. A file that changes is used when it has stopped changing."""
        for watched in self._watched:
            await watched.look()


class _Watched:
    def __init__(self, name: str, file: SecretFile, use: Use) -> None:
        self.name = name
        self._path = file.path
        self._use = use
        self._used = file.secret
        # Of the file at the last look, and when its secret was last used.
        self._seen: FileStamp | None = None
        self._known: FileStamp | None = None
        self._is_in_place = self._had_line_end = False
        self._refusal: str | None = None
        # How many looks are left until a refused secret is tried again, and how many there were.
        self._wait = self._waited = 0

    @property
    def is_refused(self) -> bool:
        return self._refusal is not None

    async def look(self) -> None:
        stamp = stamp_of(self._path)
        before, self._seen = self._seen, stamp
        if stamp != before:
            # It may still be written.
            self._is_in_place = bool(stamp and before and stamp.inode == before.inode)
            self._wait = self._waited = 0
            return
        if stamp is not None and stamp == self._known:
            self._refusal = None
            return
        if self._is_waiting():
            return
        try:
            await self._read(stamp)
        except (SettingsInvalid, Unavailable) as error:
            self._wait = self._waited = min(2 * self._waited + 1, _MOST_WAITED)
            if str(error) != self._refusal:
                self._refusal = str(error)
                logger.warning("a secret was not replaced", variable=self.name, reason=str(error))

    def _is_waiting(self) -> bool:
        is_waiting, self._wait = self._wait > 0, max(self._wait - 1, 0)
        return is_waiting

    async def _read(self, stamp: FileStamp | None) -> None:
        text = read_secret(self._path)
        has_line_end = text.endswith("\n")
        if self._is_in_place and self._had_line_end and not has_line_end:
            raise SettingsInvalid("the file ends in the middle of its line: end the line")
        secret = text.strip()
        if secret != self._used:
            await self._use(secret)
            logger.info("a secret was replaced", variable=self.name)
        self._used, self._known, self._had_line_end = secret, stamp, has_line_end
        self._refusal = None
