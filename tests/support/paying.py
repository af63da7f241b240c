"""A function with a side effect that must not happen twice: it writes into a ledger."""

from collections.abc import AsyncIterator
from pathlib import Path

import tickertape
from tickertape.worker.functions.values import Value

STEPS = 3
TEXT = "0 1 2 "


@tickertape.function("payer")
async def payer(request: tickertape.Request, context: tickertape.Context) -> AsyncIterator[Value]:
    """Pays three times, with a checkpoint behind each payment."""
    ledger = Path(request.metadata["ledger"])
    for step in range(context.state or 0, STEPS):
        yield f"{step} "
        yield tickertape.ToolCall("pay", {"step": step})
        with ledger.open("a", encoding="utf-8") as lines:  # a line, in a test
            lines.write(f"{step}\n")
        await context.checkpoint(step + 1)
    yield tickertape.Finish("stop")
