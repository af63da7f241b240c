"""Reads the table of upstreams, and the keys that it names, from files and variables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.environment import given_variables
from tickertape.runtime.secret_files import SecretFile, read_secret
from tickertape.worker.upstreams.table import Row, Table, parse_table

VARIABLE = "TICKERTAPE_UPSTREAMS"


@dataclass(frozen=True)
class KeyedRow:
    """A row with its key; `file` is where the key was read, if it was read from a file."""

    row: Row
    key: str | None = field(default=None, repr=False)
    file: SecretFile | None = None


def read_table(path: Path, given: Mapping[str, str | None] | None = None) -> list[KeyedRow]:
    """The rows of the table in a file, with their keys; `given` are the variables.

    A relative `key_file` is beside the table. Raises SettingsInvalid with one line for each
    problem. No line has a key.
    """
    variables = given_variables() if given is None else given
    try:
        table = parse_table(_text(path))
        return _keyed(table, path.parent, variables)
    except SettingsInvalid as invalid:
        shown = "\n".join(
            f"{VARIABLE} is {str(path)!r}: {line}" for line in str(invalid).split("\n")
        )
        raise SettingsInvalid(shown) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsInvalid(f"the file cannot be read: {error.strerror}") from None
    except ValueError:
        raise SettingsInvalid("the file is not UTF-8 text") from None


def _keyed(table: Table, folder: Path, variables: Mapping[str, str | None]) -> list[KeyedRow]:
    rows: list[KeyedRow] = []
    problems: list[str] = []
    for number, row in enumerate(table.rows):
        try:
            rows.append(_with_key(row, folder, variables))
        except _KeyMissing as missing:
            problems.append(table.problem(number, missing.field, str(missing)))
    if problems:
        raise SettingsInvalid("\n".join(problems))
    return rows


class _KeyMissing(Exception):
    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field = field


def _with_key(row: Row, folder: Path, variables: Mapping[str, str | None]) -> KeyedRow:
    if row.key_env is not None:
        key = (variables.get(row.key_env) or "").strip()
        if not key:
            raise _KeyMissing(
                "key_env", f"the variable {row.key_env} is not set: set it to the key"
            )
        return KeyedRow(row, _checked(key, "key_env"))
    if row.key_file is None:
        return KeyedRow(row)
    path = folder / row.key_file
    try:
        key = read_secret(path).strip()
    except SettingsInvalid as invalid:
        raise _KeyMissing("key_file", f"{invalid}: name a file that holds the key") from None
    return KeyedRow(row, _checked(key, "key_file"), SecretFile(path, key))


def _checked(key: str, field: str) -> str:
    if not key.isascii() or len(key.split()) != 1:
        raise _KeyMissing(field, "a key is one word of ASCII characters: correct what it names")
    return key
