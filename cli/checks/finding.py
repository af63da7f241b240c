"""Pure: what a check found, in words, and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from tickertape.runtime.json_types import JsonObject

JSON_VERSION = 1
Role: TypeAlias = Literal["api", "worker", "deliver", "up"]
ROLES: tuple[Role, ...] = ("api", "worker", "deliver", "up")
OF_API: tuple[Role, ...] = ("api", "up")
OF_WORKER: tuple[Role, ...] = ("worker", "up")
OF_DELIVER: tuple[Role, ...] = ("deliver", "up")


class Level(StrEnum):
    """The severity of a finding. One `FAIL` makes the exit code 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the report, with a fix unless all is well. `case` is its stable name.

    `ends_start`: a start ends with this finding, because only other settings can help. After any
    other failure, a process waits until the server or the machine is put right.
    """

    level: Level
    case: str
    subject: str
    text: str
    fix: str = ""
    ends_start: bool = False

    def __str__(self) -> str:
        line = f"{self.level:4}  {self.subject:9}  {self.text}"
        return f"{line}\n{'':17}{self.fix}" if self.fix else line

    @property
    def line(self) -> str:
        """The finding with its fix in one line, as a start prints it."""
        return f"{self.text.rstrip('.')}: {self.fix}" if self.fix else self.text


@dataclass(frozen=True)
class Case:
    """A wrong set-up that is known: the condition, the words for it, and what mends it.

    `words` and `fix` are formats, whose fields are the facts of `found`.
    """

    name: str
    level: Level
    condition: str
    words: str
    fix: str
    ends_start: bool = False

    def found(self, **facts: object) -> Finding:
        """The finding with these facts. The texts of facts are shown as they are."""
        return Finding(
            self.level,
            self.name,
            self.name.partition("-")[0],
            self.words.format(**facts),
            self.fix.format(**facts),
            self.ends_start,
        )


def ok(case: str, text: str) -> Finding:
    """A finding that needs no action."""
    return Finding(Level.OK, case, case.partition("-")[0], text)


def report(role: Role, found: Sequence[Finding]) -> JsonObject:
    """The report of `doctor --json`. Its form is documented in docs/doctor.md."""
    return {
        "version": JSON_VERSION,
        "role": role,
        "failures": count(found, Level.FAIL),
        "warnings": count(found, Level.WARN),
        "findings": [
            {
                "case": finding.case,
                "level": finding.level.lower(),
                "subject": finding.subject,
                "text": finding.text,
                "fix": finding.fix or None,
                "ends_start": finding.ends_start,
            }
            for finding in found
        ],
    }


def count(found: Sequence[Finding], level: Level) -> int:
    """How many findings have this level."""
    return sum(finding.level is level for finding in found)
