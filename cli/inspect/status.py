"""`tickertape status`: shows whether all is well, and the numbers of the deployment."""

import asyncio
import json
import sys
from typing import Any

from tickertape.cli.chat.client_settings import Server, make_client
from tickertape.cli.chat.text import harmless
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.client import ApiUnreachable, AsyncClient, CallRefused

_INTERVAL_S = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def run(server: Server, *, is_watching: bool, is_json: bool) -> int:
    """Print the status; 0 if all is well, 1 if not. Raises CommandFailed and SettingsInvalid.

    With `is_watching`, print again every two seconds until Ctrl+C; the exit code is that of the
    last status.
    """
    return asyncio.run(_run(server, is_watching=is_watching, is_json=is_json))


async def _run(server: Server, *, is_watching: bool, is_json: bool) -> int:
    async with make_client(server) as client:
        while True:
            code = await _print_once(client, is_json=is_json, clears=is_watching)
            if not is_watching:
                return code
            try:
                await asyncio.sleep(_INTERVAL_S)
            except asyncio.CancelledError:
                return code


async def _print_once(client: AsyncClient, *, is_json: bool, clears: bool) -> int:
    try:
        status = await client.get_json("/status.json")
        shown = json.dumps(status) if is_json else table(status)
    except ApiUnreachable as error:
        if not clears:
            raise CommandFailed(f"{client.display_url} does not answer: {error}") from None
        status, shown = {}, f"{client.display_url} does not answer: {error}"
    except CallRefused as error:
        raise CommandFailed(str(error)) from None
    if clears and not is_json and sys.stdout.isatty():
        shown = _CLEAR + shown
    print(shown, flush=True)
    return Exit.OK if status.get("verdict") == "ok" else Exit.FAILED


def table(status: dict[str, Any]) -> str:
    """Pure: the status as lines for people, the verdict first."""
    problems = [harmless(problem["message"]) for problem in status["problems"]]
    rows = [(name, str(value)) for name, value in _rows(status)]
    width = max(len(name) for name, _ in rows)
    return "\n".join(
        [*(f"PROBLEM  {text}" for text in problems), *([] if problems else ["All is well."]), ""]
        + [f"{name:{width}}  {value}" for name, value in rows]
    )


def _rows(status: dict[str, Any]) -> list[tuple[str, object]]:
    queue, workers = status["queue"], status["workers"]
    slots = sum(worker["slots"] for worker in workers)
    of_queue: list[tuple[str, object]] = []
    if queue is not None:
        oldest = queue["oldest_s"]
        of_queue = [
            ("waiting", queue["waiting"]),
            ("oldest wait", "-" if oldest is None else f"{oldest} s"),
            ("running", f"{queue['running']} of {slots} slots"),
            ("delayed, held", f"{queue['delayed']}, {queue['held']}"),
            ("dead", queue["dead"]),
        ]
    return [
        *of_queue,
        ("workers", len(workers)),
        ("deltas/s", status["deltas_per_s"]),
        ("completed, failed", f"{status['completed']}, {status['failed']}"),
        ("takeovers, retries", f"{status['takeovers']}, {status['retries']}"),
        ("open streams", status["open_streams"]),
        ("watchers", status["watchers"]),
        ("API processes", status["api_processes"]),
        ("Redis reply", "-" if status["redis_ms"] is None else f"{status['redis_ms']} ms"),
    ]
