"""Equal submits at once are one request, and one call of the upstream."""

import asyncio
import json

from tests.chaos.figures.callers import Callers, has_ended
from tests.support.prompted import Plan

SUBMITS = 50


async def measure_submits(calling: Callers) -> list[str]:
    """50 at once with one key."""
    plan = Plan(deltas=20, tag="equal")
    client = calling.clients[0]
    body, headers = {"message": plan.prompt()}, {"Idempotency-Key": "equal"}
    answers = await asyncio.gather(
        *(client.call("POST", "/chat", body=body, headers=headers) for _ in range(SUBMITS))
    )
    ids = {answer.body["request_id"] for answer in answers}
    await asyncio.gather(*(has_ended(calling.read(request_id)) for request_id in ids))
    asked = [json.loads(c["body"]["messages"][-1]["content"]) for c in await calling.journal()]
    calls = sum(each["tag"] == plan.tag for each in asked)
    return [f"{SUBMITS} equal submits at once: {len(ids)} request, {calls} call of the upstream"]
