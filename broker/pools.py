"""Pools: which workers a request is for.

The requests of a function are the pool of that function, and all others are the pool of the
upstream. A worker serves some pools, and gets requests of no other one.
"""

import re
from collections.abc import Iterable

UPSTREAM = ""
"""The pool of the requests that the upstream answers."""

MOST_FUNCTIONS = 64
"""How many functions a worker may run: each of them costs a claim a few commands."""

_FUNCTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}", re.ASCII)


def is_function_name(text: str) -> bool:
    """Whether a function may have this name, which becomes a part of names in Redis."""
    return _FUNCTION_NAME.fullmatch(text) is not None


def functions_in(pools: Iterable[str]) -> tuple[str, ...]:
    """The functions among some pools, in their order."""
    return tuple(pool for pool in pools if pool != UPSTREAM)


def after_name(pool: str) -> str:
    """What follows the name of a key that each pool has."""
    return f":{pool}" if pool else ""


def shown_name(pool: str) -> str:
    """The name of a pool for people. No function has a name with brackets."""
    return pool or "(upstream)"


def in_pool(pool: str, owner: str) -> str:
    """The name of an owner of requests in the keys of a pool."""
    return f"{pool}|{owner}" if pool else owner
