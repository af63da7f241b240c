"""Pure: the header of a script, which is the signature of its calls.

    -- KEYS   1 request  2 log                                  the names of the keys
    -- ARGV   1 attempt  2 usage (JSON)|''  3.. values          the names of the arguments, in order
    -- ->     OK seq | FENCED state                             the replies, a verdict first
    -- FLAGS  allow-oom | deny-oom                              what a full Redis does with it
    -- NEEDS  rights prefix                                     the files in front of the script

A last argument `values`, with two dots behind its number, stands for any number of values. A
section may continue on the next lines, behind at least three spaces.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Argument = str | bytes | float

_TAIL = "values"
_SECTION = re.compile(r"^-- (KEYS|ARGV|->|FLAGS|NEEDS)(.*(?:\n--   .*)*)", re.MULTILINE)
_NUMBERED = re.compile(r"(?<!\S)(\d+)(\.\.)? ([a-z_]+)")
_VERDICT = re.compile(r"\b[A-Z_]{2,}\b")


@dataclass(frozen=True)
class ScriptHeader:
    """`takes_values` says whether any number of values may follow the named arguments."""

    keys: tuple[str, ...]
    arguments: tuple[str, ...]
    takes_values: bool
    verdicts: frozenset[str]
    flags: tuple[str, ...]
    needs: tuple[str, ...]

    def order(
        self, keys: Sequence[str], named: Mapping[str, Argument], values: Sequence[Argument] = ()
    ) -> list[Argument]:
        """The arguments in the order of the header.

        Raises TypeError when a name is missing or unknown, or when the number of keys is wrong.
        """
        if len(keys) != len(self.keys):
            raise TypeError(f"the script takes the keys {self.keys}, not {len(keys)} keys")
        if len(named) != len(self.arguments) or (values and not self.takes_values):
            raise TypeError(self._mismatch(named, values))
        try:
            return [*map(named.__getitem__, self.arguments), *values]
        except KeyError:
            raise TypeError(self._mismatch(named, values)) from None

    def _mismatch(self, named: Mapping[str, Argument], values: Sequence[Argument]) -> str:
        missing = sorted(set(self.arguments) - set(named))
        unknown = sorted(set(named) - set(self.arguments))
        if values and not self.takes_values:
            unknown.append(_TAIL)
        return f"the arguments of the script: missing {missing}, unknown {unknown}"


def parse_header(text: str) -> ScriptHeader:
    """The header of a script's text; raises ValueError when its numbers do not count up from 1."""
    lines = text.splitlines()
    end = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    sections = dict(_SECTION.findall("\n".join(lines[:end])))
    keys, _ = _numbered(sections.get("KEYS", ""))
    arguments, takes_values = _numbered(sections.get("ARGV", ""))
    return ScriptHeader(
        keys=keys,
        arguments=arguments,
        takes_values=takes_values,
        verdicts=frozenset(_VERDICT.findall(sections.get("->", ""))),
        flags=tuple(sections.get("FLAGS", "").split()),
        needs=tuple(sections.get("NEEDS", "").split()),
    )


def _numbered(section: str) -> tuple[tuple[str, ...], bool]:
    found = _NUMBERED.findall(section)
    if [int(number) for number, _, _ in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the numbers do not count up from 1: {section.strip()}")
    takes_values = bool(found) and bool(found[-1][1])
    names = tuple(name for _, _, name in found)
    if any(dots for _, dots, _ in found[:-1]) or takes_values != (_TAIL in names):
        raise ValueError(
            f"only a last argument called {_TAIL} stands for any number: {section.strip()}"
        )
    return (names[:-1] if takes_values else names), takes_values
