"""What a reader sees when the process that generates is killed in mid-answer."""

import asyncio
import time
from dataclasses import dataclass, field

import aiohttp

from bench.asking import Plan, numbers_in
from bench.rivals.rival import Rival, events_of

PLAN = Plan(200, 50)
_KILLED_AFTER = 100
_PATIENCE_S = 90.0


@dataclass
class Seen:
    """What one reader got. Times are seconds after the kill; None for what never came."""

    numbers: list[int] = field(default_factory=list)
    """The tokens that the reader's page shows at the end: those before a reset are gone."""
    killed_at_s: float = 0.0
    next_s: float | None = None
    ended_s: float | None = None
    notice: str = ""
    """How the stream ended: "completed", "failed", "closed", or "" if it was still open."""

    @property
    def is_whole(self) -> bool:
        return self.numbers == list(range(PLAN.deltas))

    @property
    def words(self) -> str:
        """The outcome in words."""
        if self.is_whole:
            text = "the whole answer, once"
        elif len(set(self.numbers)) == len(self.numbers):
            text = f"the first {len(self.numbers)} of {PLAN.deltas} tokens"
        else:
            text = f"{len(self.numbers) - len(set(self.numbers))} tokens twice"
        if self.notice == "completed":
            return text
        if self.notice == "failed":
            return f"{text}, then an error"
        return f"{text}, then {'a closed stream' if self.notice else 'silence'}"


async def death_of(rival: Rival) -> Seen:
    """Ask, read half of the answer, kill the process that generates, and read on."""
    seen = Seen()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        name = await rival.ask(session, str(PLAN))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await _follow(rival, session, name, seen)
                seen.ended_s = time.monotonic() - seen.killed_at_s
        except TimeoutError:
            pass
    return seen


async def _follow(rival: Rival, session: aiohttp.ClientSession, name: str, seen: Seen) -> None:
    async with await rival.open(session, name) as response:
        async for event in events_of(response):
            for piece in rival.pieces(event.name, event.data):
                if seen.killed_at_s and seen.next_s is None:
                    seen.next_s = time.monotonic() - seen.killed_at_s
                if piece.kind == "reset":
                    seen.numbers.clear()
                elif piece.kind == "text":
                    seen.numbers += numbers_in(piece.text)
                else:
                    seen.notice = piece.kind
                    return
            if not seen.killed_at_s and len(seen.numbers) >= _KILLED_AFTER:
                rival.kill()
                seen.killed_at_s = time.monotonic()
    seen.notice = "closed"
