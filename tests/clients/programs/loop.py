"""What the Python programs share: the targets, the tool, and a line of JSON for each loop."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

PROGRAM = json.loads(os.environ["PROGRAM"])
QUESTION = PROGRAM["question"]
called: list[dict[str, int]] = []

PARAMETERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


def add(a: int, b: int) -> int:
    """Add two numbers."""
    called.append({"a": a, "b": b})
    return a + b


def run(loops: dict[str, Callable[[str], Awaitable[str]]]) -> None:
    """Run the loop of each target's wire, and print what became of it."""

    async def all_targets() -> None:
        for target in PROGRAM["targets"]:
            called.clear()
            found: dict[str, Any] = {"family": target["family"], "wire": target["wire"]}
            try:
                async with asyncio.timeout(20):
                    found["text"] = await loops[target["wire"]](f"{target['url']}/v1")
            except Exception as error:  # noqa: BLE001  # whatever a client raises is its outcome
                found["error"] = f"{type(error).__name__}: {error}"[:600]
            found["called"] = sorted(called, key=lambda each: each["a"])
            print(json.dumps(found), flush=True)

    asyncio.run(all_targets())
