"""`tickertape dead`: lists, retries or drops poison requests. For operators."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from tickertape.broker.connections import Connections
from tickertape.broker.dead import DeadRequest, DeadRequests
from tickertape.broker.errors import Refused, RequestMissing, Unavailable
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.runtime.settings import Settings, load_settings


def run(action: str, request_ids: list[str], *, is_all: bool, data_dir: Path) -> int:
    """List, retry or drop; returns the exit code. Raises CommandFailed, SettingsInvalid."""
    settings = load_settings()
    url = settings.redis_url or _embedded_url(data_dir, settings)
    if action != "list" and not request_ids and not is_all:
        raise CommandFailed(
            f"name the requests: `tickertape dead {action} REQUEST_ID ...`, or use --all",
            Exit.USAGE,
        )
    try:
        return asyncio.run(_run(url, settings, action, None if is_all else request_ids))
    except Unavailable as error:
        raise CommandFailed(str(error)) from None


async def _run(url: str, settings: Settings, action: str, request_ids: list[str] | None) -> int:
    connections = Connections(url, namespace=settings.namespace)
    try:
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


def _embedded_url(data_dir: Path, settings: Settings) -> str:
    """The URL of the embedded server of the `tickertape up` that uses this folder."""
    from tickertape.cli.up.data_dir import DataDir
    from tickertape.cli.up.upstream_data import all_data_dirs, data_dir_of
    from tickertape.cli.up.upstream_identity import upstream_identity

    # The server of the upstream in the settings comes first; without one, any that runs.
    own_dir = data_dir_of(data_dir, upstream_identity(settings))
    for folder in (own_dir, *all_data_dirs(data_dir)):
        if not folder.exists():
            continue
        home = DataDir(folder)
        if home.port():
            return f"redis://:{home.password()}@127.0.0.1:{home.port()}/0"
    raise CommandFailed(
        f"REDIS_URL is not set, and no `tickertape up` runs with --data-dir {data_dir}."
        " Set REDIS_URL, or name the folder with --data-dir.",
        Exit.USAGE,
    )
