"""What the worst bodies of each wire cost an API process: `python -m bench.worst_bodies`.

Each is posted once to an API of this process, after a small one of its kind. The columns are the
size of the body, the longest turn of the event loop in the time of the processor, the memory that
the body took at its peak, and the status of the answer.
"""

import asyncio

from tests.support.posting import AT_ONCE, cost_of
from tests.support.running_api import running_api
from tests.support.servers import in_memory, valkey_server
from tests.support.worst_bodies import PATHS, worst_bodies
from tickertape.runtime.garbage import tune_garbage_collector


async def main() -> None:
    """Print a line for each body."""
    tune_garbage_collector()
    with valkey_server(parent=in_memory()) as server:
        async with running_api(server.url, timing=AT_ONCE) as api:
            for path in PATHS:
                for small in worst_bodies(path, many=100):
                    await cost_of(api, small)
                for body in worst_bodies(path):
                    cost = await cost_of(api, body)
                    print(
                        f"{path} {body.name:40} {len(body.content) / 1e6:5.1f} MB"
                        f" {cost.turn_ms:6.0f} ms {cost.grown_mib:5.0f} MiB {cost.status}"
                    )


if __name__ == "__main__":
    asyncio.run(main())
