"""Shows the readers of waiting requests their place in the queue."""

import asyncio

from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.broker.errors import BrokerError, RequestMissing
from tickertape.broker.requests import Record, Requests

_REQUESTS_PER_ROUND = 200


class QueuePositions:
    """Asks Redis for the places of watched requests that wait; `run` has to be running."""

    def __init__(self, hub: Hub, requests: Requests, interval_s: float) -> None:
        self._hub = hub
        self._requests = requests
        self.interval_s = interval_s

    def show(self, watched: WatchedLog, record: Record) -> None:
        """Show the readers of a log what its request waits for, and from now on its place."""
        watched.tenant = record.tenant
        if record.waiting is not None:
            watched.keep_notice("waiting", record.waiting)

    async def run(self) -> None:
        """Publish every place that has changed, once in each interval, until cancelled."""
        while True:
            for watched in self._hub.queued()[:_REQUESTS_PER_ROUND]:
                try:
                    position = await self._requests.position(
                        watched.tape.request_id, watched.tenant
                    )
                except RequestMissing:
                    continue
                except BrokerError:
                    break
                data = {"position": position}
                if position is not None and data != watched.notices.get("position"):
                    watched.publish_notice("position", data)
            await asyncio.sleep(self.interval_s)
