"""Pure: the CPU of a process that works in turns, as an event loop does.

A turn begins when a message has arrived. The process then takes every message that has arrived, so
one turn serves more messages the busier the process is, and a message costs less.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

_STEPS = 50


@dataclass(frozen=True)
class TurnCosts:
    """What a process pays, in us of CPU.

    `turn_us` is paid for a turn: to wake, to poll, to read one socket. `message_us` is paid for
    each message, `token_us` for each token in it, and `write_us` for each reader of the message.
    """

    turn_us: float
    message_us: float
    token_us: float
    write_us: float = 0.0

    def of_message(self, tokens: float = 1, writes: float = 0) -> float:
        """The cost of one more message in a turn, in us."""
        return self.message_us + tokens * self.token_us + writes * self.write_us

    def scaled(self, factor: float) -> "TurnCosts":
        """The same costs on a machine that needs `factor` times the CPU for everything."""
        return replace(
            self,
            turn_us=self.turn_us * factor,
            message_us=self.message_us * factor,
            token_us=self.token_us * factor,
            write_us=self.write_us * factor,
        )


def busy_share(turn_us: float, item_us: float, per_s: float) -> float:
    """The share of a core that `per_s` messages a second take; 1 or more if one core is too few.

    Messages arrive at random times. A turn of length L is followed by a turn at once, unless
    nothing arrived in it, which has the probability exp(-per_s * L). All other turns begin with a
    message that finds the process asleep, and these are a share 1 - busy of all messages. So
    turns * exp(-per_s * L) = per_s * (1 - busy), with L = busy / turns.
    """
    items = per_s * item_us / 1e6
    if items >= 1 or per_s == 0:
        return items

    def too_busy(busy: float) -> bool:
        turns = (busy - items) / turn_us * 1e6
        return turns * math.exp(-per_s * busy / turns) > per_s * (1 - busy)

    return _boundary(too_busy, items, 1.0)


def us_per_message(turn_us: float, item_us: float, per_s: float) -> float:
    """The CPU of one message at this rate, its part of the turns included."""
    return busy_share(turn_us, item_us, per_s) / per_s * 1e6


@cache
def rate_at(turn_us: float, item_us: float, busy: float) -> float:
    """The messages a second that keep a core busy for the share `busy` of the time."""
    most = 1e6 / item_us
    return _boundary(lambda per_s: busy_share(turn_us, item_us, per_s) > busy, 0.0, most)


def _boundary(is_above: Callable[[float], bool], low: float, high: float) -> float:
    """The value between `low` and `high` at which `is_above` turns true."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return (low + high) / 2
