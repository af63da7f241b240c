"""The control: how late an event loop that only sleeps wakes on this machine.

On SIGTERM it prints a JSON list of delays in seconds.
"""

import asyncio
import json
import signal
import time

import uvloop

_SLEEP_S = 0.01


async def _measure() -> list[float]:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    delays_s: list[float] = []
    while not ended.is_set():
        slept_at_s = time.monotonic()
        await asyncio.sleep(_SLEEP_S)
        delays_s.append(time.monotonic() - slept_at_s - _SLEEP_S)
    return delays_s


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_measure())))
