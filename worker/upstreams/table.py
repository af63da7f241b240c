"""Pure: the table of upstreams, as a TOML text, and what is wrong with it.

[[upstream]]
name = "main"
base_url = "https://llm.example/v1"
key_env = "MAIN_KEY"
models = ["large", "small"]
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.setting_addresses import checked_http_url
from tickertape.runtime.toml_text import parse_toml
from tickertape.worker.upstream.keeping import Resume
from tickertape.worker.upstream.profiles import PROFILE_NAMES

MOST_UPSTREAMS = 64
_HEADER = re.compile(r"""\s*\[\[\s*["']?upstream["']?\s*\]\]""")
_KEY = re.compile(r"""\s*\[?\s*(?:upstream\s*\.\s*)?["']?([A-Za-z_]\w*)["']?\s*[\]=.]""")
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_KEY_IN_TABLE = "name its variable in key_env, or its file in key_file: the table has no keys"
_VARIABLE = "name the variable that has the key, in letters, digits and _"
_NAME = "use at most 64 of a-z, 0-9, dot, - and _, with a letter or a digit first"


Words = Annotated[str, Field(min_length=1, max_length=256)]
PerMinute = Annotated[int, Field(ge=1, le=10**12)]


class Row(BaseModel):
    """One upstream. The fields are those of docs/upstreams.md."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    base_url: str = Field(repr=False)
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,255}$")
    key_file: Words | None = None
    profile: str | None = None
    models: list[Words] = []
    aliases: dict[Words, Words] = {}
    weight: float = Field(default=1, gt=0, le=1000)
    order: int = Field(default=1, ge=0, le=1000)
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None
    concurrency: int | None = Field(default=None, ge=1, le=100_000)
    resume: Resume | None = None
    context: int | None = Field(default=None, ge=256, le=100_000_000)

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        return checked_http_url(url)

    @field_validator("profile")
    @classmethod
    def _known(cls, profile: str | None) -> str | None:
        if profile is not None and profile not in PROFILE_NAMES:
            message = f"use one of {', '.join(PROFILE_NAMES)}"
            raise ValueError(message)
        return profile

    @model_validator(mode="after")
    def _one_key(self) -> "Row":
        if self.key_env is not None and self.key_file is not None:
            message = "key_env and key_file are both set: keep one of them"
            raise ValueError(message)
        return self

    @property
    def is_limited(self) -> bool:
        """Whether the row has a limit per minute."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The models that the table names, as requests call them; empty for those it lists."""
        return tuple(dict.fromkeys([*self.models, *self.aliases]))

    def own_name(self, model: str | None) -> str | None:
        """What this upstream calls a model; without a model, its first one."""
        if model is None:
            return self.models[0] if self.models else next(iter(self.aliases.values()), None)
        return self.aliases.get(model, model)


class Table:
    """The rows, and in which line of the file each field of theirs is."""

    def __init__(self, rows: list[Row], lines: "Lines") -> None:
        self.rows = rows
        self._lines = lines

    def problem(self, number: int, field: str, words: str) -> str:
        """A sentence about a field of the row with this number, counted from 0."""
        return _sentence(self._lines, self.rows[number].name, number, field, words)


class Lines:
    """Finds the lines of a table's fields. A text that has keys inside a string may mislead it."""

    def __init__(self, text: str) -> None:
        self._at: dict[tuple[int, str], int] = {}
        row = -1
        for number, line in enumerate(text.splitlines(), 1):
            if _HEADER.match(line):
                row += 1
                self._at[row, ""] = number
            elif found := _KEY.match(line):
                self._at.setdefault((row, found[1]), number)

    def of(self, row: int, field: str) -> int:
        """The line of a field, or else that of its row."""
        return self._at.get((row, field)) or self._at.get((row, ""), 1)

    def first(self, field: str) -> int:
        """The first line of a field, whatever row has it."""
        return min((at for (_, name), at in self._at.items() if name == field), default=1)


def parse_table(text: str) -> Table:
    """The table; raises SettingsInvalid with one line for each problem, which has no secret."""
    try:
        parsed = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        number = int(place[1]) if place and place[1] else max(1, len(text.splitlines()))
        said = _PLACE.sub("", str(error))
        raise SettingsInvalid(f"line {number}: this is not TOML: {said}") from None
    lines = Lines(text)
    found = _rows_in(parsed, lines)
    problems: list[str] = []
    rows: list[Row] = []
    for number, fields in enumerate(found):
        try:
            rows.append(Row.model_validate(fields))
        except ValidationError as error:
            problems += _problems(error, number, fields, lines)
    problems += _repeated(found, lines)
    if problems:
        raise SettingsInvalid("\n".join(problems))
    return Table(rows, lines)


def _rows_in(parsed: Mapping[str, Any], lines: Lines) -> list[dict[str, Any]]:
    found = parsed.get("upstream")
    for other in parsed.keys() - {"upstream"}:
        wrong = f"{other} is not known here: begin each upstream with [[upstream]]"
        raise SettingsInvalid(f"line {lines.first(other)}: {wrong}")
    if not found:
        raise SettingsInvalid("line 1: the table is empty: begin an upstream with [[upstream]]")
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        at = lines.first("upstream")
        raise SettingsInvalid(f"line {at}: write [[upstream]] with two brackets on each side")
    if len(found) > MOST_UPSTREAMS:
        at = lines.of(MOST_UPSTREAMS, "")
        raise SettingsInvalid(f"line {at}: remove some upstreams: the most are {MOST_UPSTREAMS}")
    return found


def _problems(
    error: ValidationError, number: int, fields: Mapping[str, Any], lines: Lines
) -> Iterator[str]:
    name = fields.get("name")
    for problem in error.errors(include_url=False, include_input=False):
        field = str(problem["loc"][0]) if problem["loc"] else "key_file"
        yield _sentence(lines, name, number, field, _words(problem, field))


def _words(problem: ErrorDetails, field: str) -> str:
    match problem["type"]:
        case "missing":
            return f"the field is missing: add {field} = ..."
        case "extra_forbidden" if field in {"key", "api_key"}:
            return _KEY_IN_TABLE
        case "extra_forbidden":
            return f"the field is not known: use {', '.join(Row.model_fields)}"
        case "string_pattern_mismatch":
            return _VARIABLE if field == "key_env" else _NAME
    said = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    inner = ".".join(str(part) for part in problem["loc"][1:])
    return f"{f'{inner} ' if inner else ''}{said[:1].lower()}{said[1:]}"


def _repeated(found: list[dict[str, Any]], lines: Lines) -> Iterator[str]:
    first: dict[object, int] = {}
    for number, fields in enumerate(found):
        name = fields.get("name")
        if isinstance(name, str) and first.setdefault(name, number) != number:
            at = lines.of(first[name], "name")
            yield _sentence(
                lines, name, number, "name", f"line {at} has this name as well: choose another one"
            )


def _sentence(lines: Lines, name: object, number: int, field: str, words: str) -> str:
    of = f"upstream {name!r}" if isinstance(name, str) and name else f"upstream {number + 1}"
    return f"line {lines.of(number, field)}, {of}, {field}: {words}"
