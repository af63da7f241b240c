"""What a chain of responses costs: `python -m bench.response_chains`.

The CPU time of a POST to /v1/responses at the end of a chain, without its answer, and the bytes
that Redis keeps of the chain when all its responses are over.
"""

import asyncio
import secrets
import statistics
import time
from typing import Any

from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.servers import in_memory, valkey_server

_LENGTHS = (1, 10, 50)
_PIECES, _REPEATS = 50, 20


async def _respond(api: RunningApi, worker: Rig, text: str, last: str | None) -> str:
    body: dict[str, Any] = {"input": text, "background": True}
    if last is not None:
        body["previous_response_id"] = last
    created = await api.client.post("/v1/responses", json=body)
    assert created.status_code == 200, created.text
    await worker.claim()
    await worker.type(*(secrets.token_hex(4) for _ in range(_PIECES)))
    await worker.finish()
    return str(created.json()["id"])


async def _kept_bytes(worker: Rig) -> int:
    ask = worker.connections.ask
    names = await ask("KEYS", "*")
    return sum([int(await ask("MEMORY", "USAGE", name) or 0) for name in names])


async def _measure(url: str, text: str) -> None:
    async with running_api(url) as api, open_rig(url) as worker:
        last, empty = None, await _kept_bytes(worker)
        for number in range(1, 1 + max(_LENGTHS)):
            last = await _respond(api, worker, text, last)
            if number not in _LENGTHS:
                continue
            kept = await _kept_bytes(worker) - empty
            took_ms = []
            for _ in range(_REPEATS):
                body = {"input": "x", "background": True, "previous_response_id": last}
                begun = time.process_time()
                created = await api.client.post("/v1/responses", json=body)
                took_ms.append(1000 * (time.process_time() - begun))
                await api.client.delete(f"/v1/responses/{created.json()['id']}")
            print(
                f"{len(text):6} characters each, behind {number:2} responses:"
                f" {statistics.median(took_ms):6.1f} ms of CPU a submit, {kept / 1000:8.1f} kB kept"
            )


async def main() -> None:
    """Print the table."""
    for size in (100, 10_000):
        with valkey_server(parent=in_memory()) as server:
            await _measure(server.url, secrets.token_hex(size // 2))


if __name__ == "__main__":
    asyncio.run(main())
