"""Pure: the usage that an upstream sends, in whole numbers of tokens."""

import math
from typing import Any

from tickertape.worker.upstream.surrogates import scrubbed

_COUNT_SUFFIX = "tokens"


def read_usage(sent: dict[str, Any]) -> dict[str, Any]:
    """The usage as any encoder accepts it. Its counts of tokens are whole, at every depth.

    Gateways that add up in JavaScript or Lua send `12.0`, and some send a mean such as `12.5`.
    Clients declare integers, and strict clients refuse the whole answer. A cost remains a float.
    """
    usage: dict[str, Any] = _whole(scrubbed(sent))
    return usage


def _whole(usage: dict[str, Any]) -> dict[str, Any]:
    return {name: _whole_value(name, value) for name, value in usage.items()}


def _whole_value(name: str, value: Any) -> Any:
    match value:
        case dict():
            return _whole(value)
        case float() if name.endswith(_COUNT_SUFFIX) and math.isfinite(value):
            return scrubbed(round(value))
    return value
