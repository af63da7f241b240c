"""`tickertape webhooks`: lists, sends again or drops webhooks that were given up. For operators."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.inspect.operator_audit import audited
from tickertape.cli.inspect.redis_url import command_failed, redis_url
from tickertape.deliver.given_up import GivenUpWebhook, GivenUpWebhooks
from tickertape.deliver.webhook_file import read
from tickertape.deliver.webhooks import NOT_CALLED
from tickertape.runtime.environment import load_settings
from tickertape.runtime.settings import Settings

# Of all webhooks that the command line has chosen, none is left out in silence.
_MISSING = "not done: no such webhook is on the list"
_NO_RECEIVER = "not done: TICKERTAPE_WEBHOOKS has no receiver of this name"


@dataclass(frozen=True)
class Chosen:
    """Which webhooks are meant: some by their ids, or all; and only those of one receiver."""

    ids: Sequence[str] = ()
    is_all: bool = False
    receiver: str | None = None

    def has(self, given_up: GivenUpWebhook) -> bool:
        """Whether a webhook is meant."""
        webhook = given_up.webhook
        is_of_receiver = self.receiver is None or webhook.receiver == self.receiver
        return is_of_receiver and (self.is_all or webhook.event.id in self.ids)


def run(action: str, chosen: Chosen, *, data_dir: Path) -> int:
    """List, send again or drop; returns the exit code. Raises CommandFailed, SettingsInvalid."""
    settings = load_settings()
    url = redis_url(settings, data_dir)
    if action != "list" and bool(chosen.ids) == chosen.is_all:
        raise CommandFailed(
            f"name the webhooks: `tickertape webhooks {action} WEBHOOK_ID ...`, or use --all",
            Exit.USAGE,
        )
    try:
        return asyncio.run(_run(url, settings, action, chosen))
    except Unavailable as error:
        raise command_failed(error, url) from None


async def _run(url: str, settings: Settings, action: str, chosen: Chosen) -> int:
    connections = Connections(url, namespace=settings.namespace, partitions=settings.partitions)
    try:
        await connections.check_server()
        await connections.partitions.refresh()
        webhooks = GivenUpWebhooks(connections)
        if action == "list":
            with audited(settings.audit_log, "webhooks list", "/webhooks"):
                listed = await webhooks.listed()
            everything = Chosen(is_all=not chosen.ids, ids=chosen.ids, receiver=chosen.receiver)
            lines = [_line(each) for each in listed if everything.has(each)]
            print("\n".join(lines) or "No webhooks were given up.")
            return Exit.OK
        return await _act(webhooks, settings, action, chosen)
    finally:
        await connections.aclose()


async def _act(webhooks: GivenUpWebhooks, settings: Settings, action: str, chosen: Chosen) -> int:
    names = read(settings.webhooks) if settings.webhooks is not None else None
    found = [each for each in await webhooks.listed() if chosen.has(each)]
    is_done = True
    for each in found:
        name = each.webhook.receiver
        if action == "retry" and names is not None and name not in names:
            print(f"{each.webhook.event.id}  {name}  {_NO_RECEIVER}")
            is_done = False
            continue
        path = f"/webhooks/{each.webhook.event.id}/{name}"
        with audited(settings.audit_log, f"webhooks {action}", path):
            is_there = await (webhooks.retry(each) if action == "retry" else webhooks.drop(each))
        outcome = "is sent again" if action == "retry" else "dropped"
        print(f"{each.webhook.event.id}  {name}  {outcome if is_there else _MISSING}")
        is_done &= is_there
    missing = {*chosen.ids} - {each.webhook.event.id for each in found}
    for event_id in sorted(missing):
        print(f"{event_id}  {_MISSING}")
    return Exit.OK if is_done and not missing else Exit.FAILED


def _line(given_up: GivenUpWebhook) -> str:
    webhook = given_up.webhook
    at = datetime.fromtimestamp(given_up.kept.at_ms / 1000, UTC).isoformat(" ", "seconds")
    why = webhook.reason or NOT_CALLED
    event = webhook.event
    return f"{event.id}  {at}  {webhook.receiver}  {event.type}  tries {webhook.tries}  {why}"
