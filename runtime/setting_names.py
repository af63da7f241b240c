"""Names of variables that look like settings and are not."""

import difflib
import re
from collections.abc import Iterable, Mapping

from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.environment import given_variables, old_names_in_use, variable_names
from tickertape.runtime.secret_files import file_variable_names

_PREFIX = "TICKERTAPE_"
_CLIENT_KEY, _SERVER_KEYS = "TICKERTAPE_API_KEY", "TICKERTAPE_API_KEYS"
# Read by clients, by the local model that `up` starts, and by tests of crashes.
_OTHERS = (_CLIENT_KEY, "TICKERTAPE_LOCAL_MODEL_KEY", "TICKERTAPE_FAULT", "TICKERTAPE_CAPTURES")
# Kubernetes sets such variables for a service that is called tickertape.
_OF_SERVICES = re.compile(
    r"\w+_SERVICE_(?:HOST|PORT(?:_\w+)?)|\w+_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?"
)
_ADDRESS_OF_SERVICE = re.compile(r"(?:tcp|udp|sctp)://.*")


def unknown_names(given: Mapping[str, str | None], known: Iterable[str]) -> dict[str, str | None]:
    """Pure: names with our prefix that are not known, each with the nearest known name."""
    settings = [name.removeprefix(_PREFIX) for name in known]
    others = (*_OTHERS, *file_variable_names())
    allowed = {*settings, *(name.removeprefix(_PREFIX) for name in others)}
    unknown = {}
    for name, value in sorted(given.items()):
        suffix = name.removeprefix(_PREFIX)
        if suffix == name or suffix in allowed or not value or _is_of_service(name, value):
            continue
        close = difflib.get_close_matches(suffix, settings, 1)
        unknown[name] = f"{_PREFIX}{close[0]}" if close else None
    return unknown


def _is_of_service(name: str, value: str) -> bool:
    is_port = name.endswith("_PORT") and _ADDRESS_OF_SERVICE.fullmatch(value) is not None
    return is_port or _OF_SERVICES.fullmatch(name) is not None


def check_names(*, has_keys: bool | None = None) -> None:
    """Raise SettingsInvalid for variables that nobody reads.

    `has_keys` is None in a process that serves no callers. A server without keys must not find the
    key of a client, which its operator most likely took for its own.
    """
    given = given_variables()
    lines = [
        f"{name} is not a setting: " + (f"did you mean {close}?" if close else "remove it")
        for name, close in unknown_names(given, [*variable_names(), *old_names_in_use()]).items()
    ]
    if has_keys is False and given.get(_CLIENT_KEY):
        lines.append(
            f"{_CLIENT_KEY} is the key that clients send, and this server has no keys:"
            f" did you mean {_SERVER_KEYS}?"
        )
    if lines:
        raise SettingsInvalid("\n".join(lines))
