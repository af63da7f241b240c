"""Helpers of tests that play the worker of a running call."""

import contextlib
from typing import Any

from tests.support.rig import Rig
from tests.support.wait import wait_until


async def claimed(worker: Rig) -> dict[str, Any]:
    """Claim the next request; returns its payload."""

    async def claim() -> bool:
        with contextlib.suppress(AssertionError):
            await worker.claim()
            return True
        return False

    await wait_until(claim, description="a request is there")
    assert worker.lease is not None
    return worker.lease.payload
