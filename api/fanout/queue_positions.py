"""Shows the readers of waiting requests their place in the queue."""

import asyncio
from collections.abc import Callable

from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.broker.errors import BrokerError, RequestMissing
from tickertape.broker.requests import Record, Requests
from tickertape.runtime.json_types import JsonObject

_REQUESTS_PER_ROUND = 200


class QueuePositions:
    """Asks Redis for the places of watched requests that wait; `run` has to be running.

    `no_worker_since` returns the Unix time of the last sign of a worker, or None while a worker is
    at work. Readers of waiting requests get it with their place.
    """

    def __init__(
        self,
        hub: Hub,
        requests: Requests,
        interval_s: float,
        no_worker_since: Callable[[], float | None],
    ) -> None:
        self._no_worker_since = no_worker_since
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
                data: JsonObject = {"position": position}
                if (since_s := self._no_worker_since()) is not None:
                    data["no_worker_since"] = int(since_s)
                if position is not None and data != watched.notices.get("position"):
                    watched.publish_notice("position", data)
            await asyncio.sleep(self.interval_s)
