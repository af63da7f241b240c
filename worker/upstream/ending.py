"""Pure: what an upstream has sent about the end of its answer, and whether that can be believed.

An answer is complete only if the upstream declared its end, and no part of it was lost. The
declaration is a finish_reason. Some upstreams send one with the first chunk, with every chunk, or
before each step of several (https://github.com/open-webui/open-webui/issues/23921). Therefore,
output after a finish_reason makes that reason void.
"""

from dataclasses import dataclass
from enum import Enum, auto


class End(Enum):
    """How a stream of events ends."""

    DECLARED = auto()  # by [DONE], or by the last bracket of an answer that is one JSON document
    CLOSED = auto()  # by the end of the body in HTTP, without [DONE]
    BROKEN = auto()  # by a cut, a silence, an error, or an event that cannot be read


@dataclass(slots=True)
class Ending:
    """The last finish_reason, and whether output followed.

    `is_void`: output came after `reason`. `was_void`: this has happened to any reason.
    """

    reason: str | None = None
    is_void: bool = False
    was_void: bool = False

    def record(self, reason: str | None, *, has_output: bool) -> None:
        """Record the reason of a chunk, or None. A chunk's output comes before its reason."""
        if has_output and self.reason is not None:
            self.is_void = self.was_void = True
        if reason is not None:
            self.reason, self.is_void = reason, False

    def record_loss(self) -> None:
        """Record data that cannot be read, and that may have been output."""
        self.record(None, has_output=True)

    @property
    def is_final(self) -> bool:
        """Whether the reason counts even if the upstream sends nothing more."""
        return self.reason is not None and not self.was_void

    def completes(self, end: End, *, has_output: bool, has_usage: bool) -> bool:
        """Whether the answer is complete if its stream ends in this way.

        An answer without output is complete only if two signs declare its end, because a reason
        alone may come too early.
        """
        if self.reason is None:
            return False
        match end:
            case End.DECLARED:
                return True
            case End.CLOSED:
                return not self.is_void and (has_output or has_usage or self.reason != "stop")
            case End.BROKEN:
                return self.is_final and has_output
