"""Prevents that requests in an external Redis reach an upstream that they were not submitted for.

An embedded server needs no such check, because each upstream has a folder of its own.
"""

import asyncio

from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.broker.upstream_mark import mark_upstream
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.up.console import print_line
from tickertape.cli.up.upstream_identity import UpstreamIdentity
from tickertape.runtime.backoff import Backoff


def claim_redis(
    redis_url: str, upstream: UpstreamIdentity, *, namespace: str, replaces: bool
) -> None:
    """Mark the Redis for this upstream. Waits without a limit while Redis does not answer.

    Raises CommandFailed if it has the mark of another upstream and `replaces` is false.
    """
    asyncio.run(_claim(Connections(redis_url, namespace=namespace), upstream, replaces=replaces))


async def _claim(connections: Connections, upstream: UpstreamIdentity, *, replaces: bool) -> None:
    try:
        other = await _mark(connections, upstream, replaces=replaces)
    finally:
        await connections.aclose()
    if other is not None:
        raise CommandFailed(
            f"the Redis at {connections.address} is used with {other}. This start would send"
            f" its waiting requests to {upstream.label}. Use another Redis, or another database"
            " (REDIS_URL=redis://.../1), or allow that with --switch-upstream.",
            Exit.USAGE,
        )


async def _mark(
    connections: Connections, upstream: UpstreamIdentity, *, replaces: bool
) -> str | None:
    backoff = Backoff(0.2, 2.0)
    is_reported = False
    while True:
        try:
            return await mark_upstream(
                connections, upstream.name, upstream.label, replaces=replaces
            )
        except Unavailable as error:
            # A denied access too, because an operator can grant it.
            if not is_reported:
                print_line(f"Waiting for the Redis at {connections.address}: {error}")
                is_reported = True
            await asyncio.sleep(backoff.next_s())
