"""What can be wrong with roles.

RolesInvalid     (ValueError)   the role files, at start
RoleNotFound     (LookupError)  the role a request names
UnknownVariable  (ValueError)   a variable a request sets

Messages name files, lines, keys and names, never the text of a prompt.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

# Takes a line number of the file that is being read, counted from 1, and what is wrong there.
Report: TypeAlias = Callable[[int, str], None]

# What a stranger sent as a name is quoted back only so far, and escaped.
_QUOTED_CHARS = 64


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend in a file; `line` counts from 1, None where the file itself is at fault."""

    file: str
    line: int | None
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.text}"


class RolesInvalid(ValueError):
    """Every problem found in the role files, so that one start shows all there is to mend."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RoleNotFound(LookupError):
    """No role has this name; `known` are the names that exist, sorted."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        self.name = name
        self.known = sorted(known)
        super().__init__(
            f"no role is named {name[:_QUOTED_CHARS]!r}; there are: {_listed(self.known)}"
        )


class UnknownVariable(ValueError):
    """The role declares no variable of this name; `known` are those it does, sorted."""

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
