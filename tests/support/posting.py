"""What a posted body costs the API that runs in the same process."""

from typing import NamedTuple

from tests.support.loop_turns import watched_turns
from tests.support.memory import forget_peak, peak_mib, resident_mib
from tests.support.running_api import RunningApi
from tests.support.worst_bodies import WorstBody
from tickertape.api.services import ApiTiming

# The head of a stream comes at once, so that no call waits for a worker.
AT_ONCE = ApiTiming(head_delay_s=0)
_TYPE = {"Content-Type": "application/json"}


class Cost(NamedTuple):
    """The longest turn of the event loop, the memory at its peak, and the status of the answer."""

    turn_ms: float
    grown_mib: float
    status: int


async def cost_of(api: RunningApi, body: WorstBody) -> Cost:
    """Post a body, and measure until the head of the answer."""
    forget_peak()
    before_mib = resident_mib()
    async with watched_turns() as turns:
        call = api.client.stream("POST", body.path, content=body.content, headers=_TYPE)
        async with call as answer:
            pass
    return Cost(turns.longest_ms, peak_mib() - before_mib, answer.status_code)
