"""Opens the history of the settings. SQLAlchemy is loaded only if there is one."""

from typing import TYPE_CHECKING

from tickertape.broker.errors import SettingsInvalid, Unavailable
from tickertape.runtime.settings import Settings

if TYPE_CHECKING:
    from tickertape.history.store import History


class HistoryUnavailable(Unavailable):
    """The database of the history does not answer. Nothing was changed, or all of it."""


def open_history(settings: Settings) -> "History | None":
    """The history of TICKERTAPE_HISTORY_URL, not yet connected; None without one.

    Raises SettingsInvalid for an address that cannot be one, and if a package is missing.
    """
    if settings.history_url is None:
        return None
    try:
        from tickertape.history.store import History  # noqa: PLC0415  # an extra installs it

        return History(settings.history_url.get_secret_value())
    except ModuleNotFoundError as missing:
        raise SettingsInvalid(
            f"TICKERTAPE_HISTORY_URL needs {missing.name}: install Tickertape with its extra `sql`"
            ", as docs/history.md shows"
        ) from None
