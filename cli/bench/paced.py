"""Pure: the message that asks the paced upstream for an answer, and what its answers hold."""

import re
from dataclasses import dataclass

MODEL = "tickertape-bench"
MAX_TOKENS = 1_000_000
_PROMPT = re.compile(r"paced (\d{1,7}) (\d{1,7}\.\d{3})")
_TOKEN = re.compile(r"(\d+)@(\d+) ")


@dataclass(frozen=True)
class Pace:
    """An answer of `tokens` tokens, `rate_per_s` of them a second."""

    tokens: int
    rate_per_s: float

    @property
    def prompt(self) -> str:
        """The message that asks for this answer."""
        return f"paced {self.tokens} {self.rate_per_s:.3f}"


def pace_of(prompt: str) -> Pace | None:
    """The answer that a message asks for; None if it asks for none."""
    found = _PROMPT.fullmatch(prompt)
    pace = Pace(int(found[1]), float(found[2])) if found else None
    return pace if pace and pace.rate_per_s else None


def token(number: int, sent_s: float) -> str:
    """The text of a token: its number, and the machine's monotonic time at which it was sent."""
    return f"{number}@{sent_s * 1e6:.0f} "


def sent_s(text: str) -> list[float]:
    """When the tokens in a piece of an answer were sent."""
    return [int(found[2]) / 1e6 for found in _TOKEN.finditer(text)]


def numbers(text: str) -> list[int]:
    """The numbers of the tokens in a text."""
    return [int(found[1]) for found in _TOKEN.finditer(text)]
