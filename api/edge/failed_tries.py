"""Slows an address down that tries keys, tickets or tokens that are not valid.

A caller with a valid key is never delayed, because others may share its address.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from tickertape.api.edge.problems import Problem
from tickertape.runtime.networks import address_of, neighborhood

logger = structlog.get_logger("api")

TOO_MANY_TRIES = "too_many_tries"
_MOST_ADDRESSES = 10_000
_MOST_WAITING = 256
# Enough for a person who mistypes.
_FREE_TRIES = 3
_FIRST_DELAY_S = 0.1
_LAST_DELAY_S = 2.0
_FORGOTTEN_AFTER_S = 60.0
_LOGGED_EVERY_S = 60.0
_RETRY_AFTER_S = 2


@dataclass
class _Tries:
    count: int = 0
    last_s: float = 0.0
    unlogged: int = 0
    logged_at_s: float = float("-inf")


class FailedTries:
    """The failed tries of each address of the last minute.

    Memory is bounded: the addresses that have been silent for longest are forgotten first. At most
    256 refusals wait at a time, and further ones are answered at once with 429.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, most_waiting: int = _MOST_WAITING
    ) -> None:
        self._most_waiting = most_waiting
        self._clock = clock
        self._by_network: OrderedDict[str, _Tries] = OrderedDict()
        self._waiting = 0

    async def refuse(self, address: str, problem: Problem) -> None:
        """Note a failed try, wait, and raise the problem; raise Problem 429 if too many wait."""
        delay_s = self.note(address)
        if delay_s == 0:
            raise problem
        if self._waiting >= self._most_waiting:
            raise Problem(
                429,
                TOO_MANY_TRIES,
                "Too many calls with wrong keys came from this address; try later.",
                headers={"Retry-After": str(_RETRY_AFTER_S)},
            )
        self._waiting += 1
        try:
            await asyncio.sleep(delay_s)
        finally:
            self._waiting -= 1
        raise problem

    def note(self, address: str) -> float:
        """Note a failed try; returns for how many seconds its refusal has to wait."""
        now_s, network = self._clock(), _network(address)
        tries = self._by_network.setdefault(network, _Tries())
        self._by_network.move_to_end(network)
        while len(self._by_network) > _MOST_ADDRESSES:
            self._by_network.popitem(last=False)
        if now_s - tries.last_s > _FORGOTTEN_AFTER_S:
            tries.count = 0
        tries.count += 1
        tries.last_s = now_s
        self._log(network, tries, now_s)
        if tries.count <= _FREE_TRIES:
            return 0.0
        doublings = min(tries.count - _FREE_TRIES - 1, 10)
        return min(_FIRST_DELAY_S * 2.0**doublings, _LAST_DELAY_S)

    def _log(self, network: str, tries: _Tries, now_s: float) -> None:
        tries.unlogged += 1
        if now_s - tries.logged_at_s >= _LOGGED_EVERY_S:
            logger.warning("calls without a valid key", address=network, tries=tries.unlogged)
            tries.unlogged, tries.logged_at_s = 0, now_s


def _network(client: str) -> str:
    """The address, or the network that its host has for itself."""
    address = address_of(client)
    return client[:64] if address is None else neighborhood(address)
