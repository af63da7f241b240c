"""The webhooks that were given up: operators list them, and have them sent again or dropped."""

import time
from dataclasses import dataclass

import msgspec

from tickertape.broker.connections import Connections
from tickertape.broker.outbox import GivenUp, Outbox
from tickertape.deliver.webhooks import Webhook


@dataclass(frozen=True)
class GivenUpWebhook:
    """A webhook that was given up, and how Redis keeps it."""

    webhook: Webhook
    kept: GivenUp


class GivenUpWebhooks:
    """Lists, sends again and drops webhooks. Every method raises Unavailable."""

    def __init__(self, connections: Connections) -> None:
        self._outbox = Outbox(connections)

    async def listed(self) -> list[GivenUpWebhook]:
        """All that are kept, the latest last."""
        found: list[GivenUpWebhook] = []
        for partition in range(self._outbox.partitions):
            for kept in await self._outbox.given_up(partition):
                webhook = msgspec.json.decode(kept.webhook, type=Webhook)
                found.append(GivenUpWebhook(webhook, kept))
        return sorted(found, key=lambda each: each.kept.at_ms)

    async def retry(self, given_up: GivenUpWebhook) -> bool:
        """Have a webhook sent with its id, as if it had never failed; False if it is gone.

        `tickertape deliver` sends it within seconds, and gives it up again if that fails for long.
        """
        again = msgspec.structs.replace(
            given_up.webhook, tries=0, reason="", since=int(time.time())
        )
        return await self._outbox.take_off(given_up.kept, msgspec.json.encode(again))

    async def drop(self, given_up: GivenUpWebhook) -> bool:
        """Forget a webhook; False if it is gone already."""
        return await self._outbox.take_off(given_up.kept)
