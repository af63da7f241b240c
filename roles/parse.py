"""Pure: the bytes of one role file to a Role, or to all problems in the file."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import cast

from tickertape.roles.errors import Report, RoleProblem, RolesInvalid
from tickertape.roles.front_matter import FrontMatter, check_value, read_front_matter
from tickertape.roles.models import ModelDefaults, Role, RoleMessage
from tickertape.roles.render import OS_VARIABLE, PLACEHOLDER
from tickertape.roles.sections import HEADINGS_LISTED, Section, split_sections

# A template is sent with every request that names it, so a larger file is a mistake.
MAX_FILE_BYTES = 64 * 1024


def parse_role(file: str, data: bytes, taken: Mapping[str, str]) -> Role:
    """Return the role in a file. Its name is that of the front matter, else that of the file.

    `file` is the path for messages. `taken` maps the names of other roles to their files. Any bytes
    are accepted; raises RolesInvalid with every problem of the file.
    """
    problems: list[RoleProblem] = []

    def report(number: int, text: str) -> None:
        problems.append(RoleProblem(file, number, text))

    lines = _decoded_lines(file, data)
    front, front_length = read_front_matter(lines, report)
    name = _name(front, PurePath(file).stem, taken, report)
    sections = split_sections(lines, front_length, report)
    if not sections:
        report(len(lines), f"no message: no line is a heading ({HEADINGS_LISTED})")
    for section in sections:
        _check_section(section, front.variables, report)
    if problems:
        raise RolesInvalid(sorted(problems, key=lambda problem: problem.line or 0))
    return _role(name, front, sections)


def _decoded_lines(file: str, data: bytes) -> list[str]:
    if len(data) > MAX_FILE_BYTES:
        raise RolesInvalid([RoleProblem(file, None, f"larger than {MAX_FILE_BYTES} bytes")])
    # Only CR, LF and CRLF end a line. str.splitlines would also split at U+2028 and others.
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        return data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise RolesInvalid([RoleProblem(file, number, "not UTF-8")]) from None


def _name(front: FrontMatter, stem: str, taken: Mapping[str, str], report: Report) -> str:
    number = front.key_lines.get("name", 1)
    if "name" in front.key_lines:
        name = front.values.get("name", "")
    else:
        name = check_value("name", stem, number, report) or ""
    if name in taken:
        report(number, f"the name {name!r} is taken by {taken[name]}")
    return str(name)


def _check_section(section: Section, variables: Mapping[str, str], report: Report) -> None:
    if not section.content:
        report(section.heading_line, "empty message: there is no text under this heading")
    for number, line in section.numbered_lines:
        for placeholder in PLACEHOLDER.finditer(line):
            name = placeholder[1]
            if name and name not in variables and name != OS_VARIABLE:
                report(
                    number,
                    f"unknown variable {name!r:.80}: declare it under `variables:`, "
                    "or write $${ for a literal ${",
                )
            elif placeholder[0] == "${":
                report(number, "not a variable after ${; write $${ for a literal ${")


def _role(name: str, front: FrontMatter, sections: list[Section]) -> Role:
    keys = ModelDefaults.__annotations__
    model_defaults = {key: front.values[key] for key in keys if key in front.values}
    return Role(
        name=name,
        description=front.values.get("description", ""),
        messages=tuple(RoleMessage(section.speaker, section.content) for section in sections),
        model_defaults=cast("ModelDefaults", model_defaults),
        variables=front.variables,
    )
