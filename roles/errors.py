"""The errors of roles.

RolesInvalid     (ValueError)   a role file is invalid, at the start
RoleNotFound     (LookupError)  a request names a role that does not exist
UnknownVariable  (ValueError)   a request sets a variable that the role does not declare

Messages contain files, lines, keys and names, but never the text of a prompt.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

# Receives a line number of the file, counted from 1, and the problem in that line.
Report: TypeAlias = Callable[[int, str], None]

# Names that callers sent are cut to this length and escaped in messages.
_QUOTED_CHARS = 64


@dataclass(frozen=True, slots=True)
class RoleProblem:
    """One problem in a role file. `line` counts from 1; None if it concerns the whole file."""

    file: str
    line: int | None
    text: str

    def __str__(self) -> str:
        location = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{location}: {self.text}"


class RolesInvalid(ValueError):
    """All problems in all role files, so that a user can fix them at once."""

    def __init__(self, problems: Iterable[RoleProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RoleNotFound(LookupError):
    """No role has this name. `known` lists the existing names, sorted."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        self.name = name
        self.known = sorted(known)
        super().__init__(
            f"no role is named {name[:_QUOTED_CHARS]!r}; there are: {_listed(self.known)}"
        )


class UnknownVariable(ValueError):
    """The role does not declare this variable. `known` lists its variables, sorted."""

    def __init__(self, role_name: str, name: str, known: Collection[str]) -> None:
        self.role_name = role_name
        self.name = name
        self.known = sorted(known)
        super().__init__(
            f"role {role_name!r} has no variable {name[:_QUOTED_CHARS]!r}; "
            f"it has: {_listed(self.known)}"
        )


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "none"
