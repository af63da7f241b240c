"""Pure: what a partition's replies promise, and which limits are settled."""

import json

from tests.broker.snapshot import Snapshot


def settled(rates: str) -> str:
    """Of limits in JSON, those with prices."""
    accounts = json.loads(rates) if rates else []
    found = [[key, [limit for limit in own if any(limit[4:])]] for key, own in accounts]
    return (
        json.dumps([account for account in found if account[1]]) if any(s[1] for s in found) else ""
    )


def check_tokens(reply: list[bytes], now: Snapshot) -> None:
    """Hold a claim to its promise that nobody sleeps while there is work, or wakes without."""
    if now.list("ring"):
        assert now.list("wake"), "work waits and nobody will be woken"
    elif reply[0] == b"EMPTY" and not now.list("suspect"):
        assert not now.list("wake"), "workers will be woken for nothing"
