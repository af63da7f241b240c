"""Pure: what an upstream has said about the end of its answer, and whether that can be believed.

An answer is complete only if the upstream said that it ended and nothing that came was lost. Its
word for the end is a finish_reason, but some send one with the first chunk, with every chunk, or
before each step of several (https://github.com/open-webui/open-webui/issues/23921). So output after
a finish_reason takes that word back.
"""

from dataclasses import dataclass
from enum import Enum, auto


class End(Enum):
    """How a stream of events ends."""

    SAID = auto()  # by [DONE], or by the last bracket of an answer that is one JSON document
    CLOSED = auto()  # the body ended as HTTP has it, without [DONE]
    BROKEN = auto()  # a cut, a silence, an error, or an event that cannot be read


@dataclass(slots=True)
class Ending:
    """The last finish_reason, and what came behind it.

    `is_void` says that output came after `reason`, `was_wrong` that this ever happened.
    """

    reason: str | None = None
    is_void: bool = False
    was_wrong: bool = False

    def note(self, reason: str | None, *, has_output: bool) -> None:
        """Take what a chunk says of the end; its own output comes before its reason."""
        if has_output and self.reason is not None:
            self.is_void = self.was_wrong = True
        if reason is not None:
            self.reason, self.is_void = reason, False

    def note_loss(self) -> None:
        """Something came that cannot be read, and may have been output."""
        self.note(None, has_output=True)

    @property
    def stands(self) -> bool:
        """Whether the reason counts without a word more from the upstream."""
        return self.reason is not None and not self.was_wrong

    def completes(self, end: End, *, has_output: bool, has_usage: bool) -> bool:
        """Whether a stream that ends in this way was a complete answer.

        An answer of nothing is one if the upstream said so twice: a reason alone may be too early.
        """
        if self.reason is None:
            return False
        match end:
            case End.SAID:
                return True
            case End.CLOSED:
                return not self.is_void and (has_output or has_usage or self.reason != "stop")
            case End.BROKEN:
                return self.stands and has_output
