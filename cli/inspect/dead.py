"""`tickertape dead`: lists, retries or drops poison requests. For operators."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from tickertape.broker.connections import Connections
from tickertape.broker.dead import DeadRequest, DeadRequests
from tickertape.broker.errors import Refused, RequestMissing, Unavailable
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.inspect.redis_url import command_failed, redis_url
from tickertape.runtime.environment import load_settings
from tickertape.runtime.settings import Settings


def run(action: str, request_ids: list[str], *, is_all: bool, data_dir: Path) -> int:
    """List, retry or drop; returns the exit code. Raises CommandFailed, SettingsInvalid."""
    settings = load_settings()
    url = redis_url(settings, data_dir)
    if action != "list" and not request_ids and not is_all:
        raise CommandFailed(
            f"name the requests: `tickertape dead {action} REQUEST_ID ...`, or use --all",
            Exit.USAGE,
        )
    try:
        return asyncio.run(_run(url, settings, action, None if is_all else request_ids))
    except Unavailable as error:
        raise command_failed(error, url) from None


async def _run(url: str, settings: Settings, action: str, request_ids: list[str] | None) -> int:
    connections = Connections(url, namespace=settings.namespace, partitions=settings.partitions)
    try:
        await connections.partitions.refresh()
        dead = DeadRequests(connections, settings)
        listed = await dead.listed()
        if action == "list":
            print("\n".join(map(_line, listed)) or "No dead requests.")
            return Exit.OK
        chosen = [request.request_id for request in listed] if request_ids is None else request_ids
        outcomes = [await _act(dead, action, request_id) for request_id in chosen]
        return Exit.OK if all(outcomes) else Exit.FAILED
    finally:
        await connections.aclose()


async def _act(dead: DeadRequests, action: str, request_id: str) -> bool:
    try:
        if action == "retry":
            print(f"{request_id}  submitted again as {await dead.retry(request_id)}")
        else:
            await dead.drop(request_id)
            print(f"{request_id}  dropped")
    except (RequestMissing, Refused) as error:
        print(f"{request_id}  not done: {error}")
        return False
    return True


def _line(dead: DeadRequest) -> str:
    died = datetime.fromtimestamp(dead.died_ms / 1000, UTC).isoformat(" ", "seconds")
    expired = "" if dead.can_retry else "  its prompt has expired"
    return f"{dead.request_id}  {died}  attempts {dead.attempts}  {dead.tenant}{expired}"
