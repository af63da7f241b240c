"""Secrets in files: `NAME_FILE` names the file that holds the value of the variable `NAME`.

Docker and Kubernetes mount secrets as files. A variable is visible in `docker inspect`, in
`/proc/PID/environ` and in each child process, and a file with narrow rights is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tickertape.broker.errors import SettingsInvalid

# TICKERTAPE_API_KEY is a client's.
NAMES = (
    "REDIS_URL",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "TICKERTAPE_API_KEY",
    "TICKERTAPE_API_KEYS",
    "TICKERTAPE_KEY_SECRET",
    "TICKERTAPE_TICKET_SECRET",
    "TICKERTAPE_HISTORY_URL",
)
_SUFFIX = "_FILE"


@dataclass(frozen=True)
class SecretFile:
    """A file, and the secret that was read from it."""

    path: Path
    secret: str = field(repr=False)


# `api/edge/listed_keys.py` reads this file, at the start too, so its setting is the file's name.
_READ_LATER = "TICKERTAPE_API_KEYS"


def file_variable_names() -> list[str]:
    """The variables that name files."""
    return [name + _SUFFIX for name in NAMES]


def secrets_in_files(given: Mapping[str, str | None]) -> dict[str, str]:
    """The values of the variables for which `given` names files.

    Raises SettingsInvalid with one line for each file that cannot be used. No line has a secret.
    """
    found: dict[str, str] = {}
    wrong: list[str] = []
    for name in NAMES:
        try:
            value = secret_in_file(name, given)
        except SettingsInvalid as invalid:
            wrong.append(str(invalid))
        else:
            if value is not None:
                found[name] = value
    if wrong:
        raise SettingsInvalid("\n".join(wrong))
    return found


def secret_in_file(name: str, given: Mapping[str, str | None]) -> str | None:
    """The content of the file that `NAME_FILE` names; None if that variable is not set.

    White space around the secret does not count, because most editors end a file with a line end.
    Raises SettingsInvalid if the file cannot be used, or if the variable `name` is set too.
    """
    variable = name + _SUFFIX
    path = given.get(variable)
    if not path:
        return None
    if given.get(name):
        raise SettingsInvalid(f"{name} and {variable} are both set: unset one of them")
    if name == _READ_LATER:
        return f"@{path}"
    try:
        return read_secret(Path(path)).strip()
    except SettingsInvalid as invalid:
        raise SettingsInvalid(
            f"{variable} is {path!r}: {invalid}. Name a file that holds the secret"
        ) from None


def read_secret(path: Path) -> str:
    """The text of a file, which is more than white space; raises SettingsInvalid with the reason.

    The reason has no secret.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsInvalid(f"the file cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError):
        raise SettingsInvalid("the file is not UTF-8 text") from None
    if not text.strip():
        raise SettingsInvalid("the file is empty")
    return text


def watched_files(
    given: Mapping[str, str | None], found: Mapping[str, str]
) -> dict[str, SecretFile]:
    """The files that `given` names, by the variables whose values in `found` they hold.

    Without the file of API keys, which `api/edge/listed_keys.py` watches.
    """
    return {
        name: SecretFile(Path(path), secret)
        for name, secret in found.items()
        if name != _READ_LATER and (path := given.get(name + _SUFFIX))
    }


def unset_files(variables: Mapping[str, str]) -> dict[str, str]:
    """`variables`, and empty `NAME_FILE` variables that let these values count in a child."""
    return {**{name + _SUFFIX: "" for name in NAMES if name in variables}, **variables}
