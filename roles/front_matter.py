"""Pure: parses the block between `---` lines at the top of a role file, a small subset of YAML.

A value is the rest of its line, without one pair of surrounding quotes. There are no lists, no
multi-line values and no comments after a value. Indented `NAME: default` lines follow `variables:`.
Blank lines and lines that start with `#` are ignored.
"""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from tickertape.roles.errors import Report
from tickertape.roles.registry import DEFAULT_ROLE
from tickertape.roles.render import OS_VARIABLE

_DELIMITER = "---"
_VARIABLES = "variables"
_VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


class _Rule(NamedTuple):
    type: Any
    allowed: str


_RULES = {
    # The name of a role appears in URLs, in `role:<name>` and on command lines, always unquoted.
    "name": _Rule(
        Annotated[str, Meta(pattern=rf"^(?!{DEFAULT_ROLE}$)[a-z0-9][a-z0-9_-]{{0,63}}$")],
        f"1 to 64 of a-z, 0-9, - and _, a letter or digit first, and not {DEFAULT_ROLE}",
    ),
    "description": _Rule(Annotated[str, Meta(max_length=300)], "at most 300 characters"),
    "model": _Rule(Annotated[str, Meta(min_length=1, max_length=200)], "1 to 200 characters"),
    "temperature": _Rule(Annotated[float, Meta(ge=0, le=2)], "a number from 0 to 2"),
    "top_p": _Rule(Annotated[float, Meta(ge=0, le=1)], "a number from 0 to 1"),
    "max_tokens": _Rule(
        Annotated[int, Meta(ge=1, le=10_000_000)], "a whole number from 1 to 10000000"
    ),
}


@dataclass(slots=True)
class FrontMatter:
    """The content of the block: checked values, default variables, and the line of each key."""

    values: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    key_lines: dict[str, int] = field(default_factory=dict)


def read_front_matter(lines: list[str], report: Report) -> tuple[FrontMatter, int]:
    """Return the content of the block and its number of lines, 0 if there is no block.

    Problems go to `report`. An invalid value is left out of the result.
    """
    front = FrontMatter()
    if lines[0].rstrip() != _DELIMITER:
        return front, 0
    closing = (at for at, line in enumerate(lines[1:], 1) if line.rstrip() == _DELIMITER)
    end = next(closing, None)
    if end is None:
        report(1, f"the front matter is not closed by a second {_DELIMITER} line")
        return front, len(lines)
    for number, line in enumerate(lines[1:end], 2):
        if line.strip() and not line.lstrip().startswith("#"):
            _read_line(front, number, line, report)
    return front, end + 1


def check_value(key: str, value: str, number: int, report: Report) -> Any:
    """Return the value as the type of `key`. If it is invalid, report that and return None."""
    rule = _RULES[key]
    try:
        return msgspec.convert(value, rule.type, strict=False)
    except msgspec.ValidationError:
        report(number, f"{key} is {value!r:.80}; allowed: {rule.allowed}")
        return None


def _read_line(front: FrontMatter, number: int, line: str, report: Report) -> None:
    key, colon, value = (part.strip() for part in line.partition(":"))
    if not colon:
        report(number, "a line of front matter must read `key: value`")
    elif line[0].isspace():
        _read_variable(front, number, key, _unquoted(value), report)
    elif key in front.key_lines:
        report(number, f"{key!r:.80} is set twice, first on line {front.key_lines[key]}")
    else:
        front.key_lines[key] = number
        _read_value(front, number, key, _unquoted(value), report)


def _read_value(front: FrontMatter, number: int, key: str, value: str, report: Report) -> None:
    if key == _VARIABLES:
        if value:
            report(number, f"put {_VARIABLES} below, each on an indented `NAME: default` line")
    elif key not in _RULES:
        report(number, f"unknown key {key!r:.80}; known: {', '.join([*_RULES, _VARIABLES])}")
    else:
        checked = check_value(key, value, number, report)
        if checked is not None:
            front.values[key] = checked


def _read_variable(
    front: FrontMatter, number: int, name: str, default: str, report: Report
) -> None:
    if next(reversed(front.key_lines), None) != _VARIABLES:
        report(number, f"an indented line belongs under `{_VARIABLES}:`")
    elif name == OS_VARIABLE:
        report(number, f"{OS_VARIABLE} cannot be declared, because it is always the platform")
    elif not _VARIABLE_NAME.fullmatch(name):
        report(number, f"a variable's name is A-Z, 0-9 and _, a letter first, not {name!r:.80}")
    elif name in front.variables:
        report(number, f"variable {name} is declared twice")
    else:
        front.variables[name] = default


def _unquoted(value: str) -> str:
    quoted = value[:1] in ('"', "'") and value.endswith(value[0]) and value.count(value[0]) == 2
    return value[1:-1] if quoted else value
