"""Pure: which of several processes hang, by the signs of life that they give."""

import math
from collections.abc import Mapping


class SignsOfLife:
    """For how long each process has given no new sign.

    A sign is the time at which a process last did something, -inf before its first one. Only time
    in which the caller itself looks is counted, so that a machine that stands still for a minute
    makes no process hang. A process that has given no sign yet has `start_limit_s`.
    """

    def __init__(self, limit_s: float, start_limit_s: float) -> None:
        self._limit_s = limit_s
        self._start_limit_s = start_limit_s
        self._signs: dict[int, float] = {}
        self._silent_s: dict[int, float] = {}
        self._starting: set[int] = set()

    def began(self, number: int, sign: float) -> None:
        """A process starts; `sign` is the last one of the process that it replaces."""
        self._signs[number], self._silent_s[number] = sign, 0.0
        self._starting.add(number)

    def silent(self, elapsed_s: float, signs: Mapping[int, float]) -> dict[int, float]:
        """The processes that hang, and the seconds of their silence.

        `signs` has all processes that run, and `elapsed_s` is the time since the last look.
        """
        for number, sign in signs.items():
            if sign in {self._signs[number], -math.inf}:
                self._silent_s[number] += elapsed_s
            else:
                self._signs[number], self._silent_s[number] = sign, 0.0
                self._starting.discard(number)
        return {
            number: self._silent_s[number]
            for number in signs
            if self._silent_s[number] >= self._limit_of(number)
        }

    def _limit_of(self, number: int) -> float:
        return self._start_limit_s if number in self._starting else self._limit_s
