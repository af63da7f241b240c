"""Pure: splits the body of a role file at its `# SYSTEM`, `# USER` and `# ASSISTANT` headings.

Lines inside a Markdown code fence are not headings, so a template may contain a shell comment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tickertape.roles.errors import Report
from tickertape.roles.models import Speaker

HEADINGS: Mapping[str, Speaker] = {
    "# SYSTEM": "system",
    "# USER": "user",
    "# ASSISTANT": "assistant",
}
HEADINGS_LISTED = ", ".join(HEADINGS)

# Every Markdown heading of level one, and `#user`, which is most likely meant as one.
_HEADING_LIKE = re.compile(r" {0,3}#(?:[ \t]|$|(?:system|user|assistant)\b)", re.IGNORECASE)
_CODE_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


@dataclass(slots=True)
class Section:
    """A heading, its line number, and the lines under it."""

    speaker: Speaker
    heading_line: int
    lines: list[str] = field(default_factory=list)

    @property
    def content(self) -> str:
        """The text under the heading, trimmed."""
        return "\n".join(self.lines).strip()

    @property
    def numbered_lines(self) -> enumerate[str]:
        """The lines under the heading with their numbers in the file."""
        return enumerate(self.lines, self.heading_line + 1)


def split_sections(lines: list[str], skipped: int, report: Report) -> list[Section]:
    """Return one section per heading after the first `skipped` lines of the file.

    Problems go to `report`: an unknown heading, text before the first heading, or a code fence that
    is not closed.
    """
    preface = Section("system", skipped)
    sections = [preface]
    fence, fence_line = "", 0
    for number, line in enumerate(lines[skipped:], skipped + 1):
        if not fence and _HEADING_LIKE.match(line):
            sections.append(_open_section(number, line, report))
            continue
        sections[-1].lines.append(line)
        fence_before, fence = fence, _fence_after(fence, line)
        if fence and not fence_before:
            fence_line = number
    if fence:
        report(fence_line, "this code fence is not closed")
    stray = next((number for number, line in preface.numbered_lines if line.strip()), None)
    if stray is not None:
        report(stray, f"text before the first heading; headings are {HEADINGS_LISTED}")
    return sections[1:]


def _open_section(number: int, line: str, report: Report) -> Section:
    heading = line.rstrip()
    if heading not in HEADINGS:
        report(
            number,
            f"a heading of level one must be {HEADINGS_LISTED}; "
            "in a message, use ## or put the line into a code fence",
        )
    # An unknown heading opens a section too, so that the lines under it are reported only once.
    return Section(HEADINGS.get(heading, "system"), number)


def _fence_after(fence: str, line: str) -> str:
    """Return the marker of the code fence that is open after this line, "" if no fence is open."""
    match = _CODE_FENCE.fullmatch(line)
    if match is None:
        return fence
    marker, rest = match.groups()
    if fence:
        closes = marker.startswith(fence) and not rest.strip()
        return "" if closes else fence
    # If the rest contains backticks, the marker starts inline code: https://spec.commonmark.org/0.31.2/#fenced-code-blocks
    is_inline_code = marker.startswith("`") and "`" in rest
    return "" if is_inline_code else marker
