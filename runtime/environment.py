"""Reads the settings from the environment and the `.env` file, and words what is wrong there.

A wrong value stops the start, and the error names the variable, its value and the allowed values. A
secret is never shown.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import AliasChoices, ValidationError

from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.secret_files import secrets_in_files, watched_files
from tickertape.runtime.settings import ENV_ENCODING, ENV_FILE, Settings

_SECRET = {
    "OPENAI_API_KEY",
    "TICKERTAPE_API_KEYS",
    "TICKERTAPE_KEY_SECRET",
    "TICKERTAPE_TICKET_SECRET",
    "REDIS_URL",
}
# Variable names of earlier versions, which are still read.
_OLD_NAMES = {"TICKERTAPE_MAX_ATTEMPTS": "TICKERTAPE_MAX_CRASHES"}


def load_settings(over: Mapping[str, object] | None = None) -> Settings:
    """The settings of this process; raises SettingsInvalid with one line per wrong variable.

    `over` has values that count in place of those of the environment, by the names of variables.
    """
    over = over or {}
    if unknown := over.keys() - set(variable_names()):
        raise SettingsInvalid(f"{min(unknown)} is not a setting: .env.example lists the names")
    given = {**given_variables(), **{name: str(value) for name, value in over.items()}}
    in_files = secrets_in_files(given)
    values = {**in_files, **over}
    try:
        settings = Settings.model_validate(values) if values else Settings()
    except ValidationError as error:
        raise SettingsInvalid(
            "\n".join(_line(dict(problem)) for problem in error.errors())
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(error) from None
    return settings.read_from(watched_files(given, in_files))


def variable_names() -> list[str]:
    """The names of all variables, in the order of declaration."""
    names = []
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        names.append(str(alias.choices[0]) if isinstance(alias, AliasChoices) else str(alias))
    return names


def given_variables() -> dict[str, str | None]:
    """The variables of the environment, and those of the `.env` file that it does not set.

    Raises SettingsInvalid if the file cannot be read.
    """
    try:
        return {**dotenv_values(ENV_FILE, encoding=ENV_ENCODING), **os.environ}
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(error) from None


def wrong_lines() -> list[int]:
    """The numbers of the lines of the `.env` file that set no variable; raises SettingsInvalid."""
    try:
        with Path(ENV_FILE).open(encoding=ENV_ENCODING) as stream:
            return [
                each.original.line
                for each in parse_stream(stream)
                if each.error or (each.key is not None and each.value is None)
            ]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(error) from None


def old_names_in_use() -> dict[str, str]:
    """The old names that the environment or the `.env` file sets, each with its current name."""
    given = given_variables()
    return {old: new for old, new in _OLD_NAMES.items() if given.get(old)}


def _unreadable(error: OSError | UnicodeDecodeError) -> SettingsInvalid:
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    return SettingsInvalid(
        f"{ENV_FILE} cannot be read: {reason}; save it as UTF-8 text that this user may read"
    )


def _line(problem: dict[str, Any]) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "?"
    # An address may contain a name and a password in front of an "@".
    is_secret = name in _SECRET or "@" in str(problem["input"])
    given = "(hidden)" if is_secret else repr(problem["input"])
    allowed = str(problem["msg"]).removeprefix("Value error, ")
    if str(problem["input"])[:1] in {'"', "'"}:
        allowed = "it begins with a quotation mark, which is part of the value: remove the marks"
    return f"{name} is {given}: {allowed}"
