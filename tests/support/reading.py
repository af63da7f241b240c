"""Reads one answer of an upstream to its end or error."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.script import Script
from tests.support.upstream import ScriptedUpstream
from tickertape.worker.upstream.answer_stream import AnswerStream, Limits
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import UpstreamError
from tickertape.worker.upstream.tally import Tally

KEY = "sk-test-0123456789"
QUESTION = {"role": "user", "content": "Tell me the secret of the cat."}
PAYLOAD: dict[str, Any] = {"model": "m", "messages": [QUESTION]}
PATIENT = Limits(first_byte_s=30, stall_s=30, deadline_s=30)


class Reading:
    """The text before the end, and the error that ended the answer, if there was one.

    `on_text` is called after each batch of pieces.
    """

    def __init__(
        self, tally: Tally | None = None, *, on_text: Callable[[], object] | None = None
    ) -> None:
        self.tally = tally or Tally()
        self.text = ""
        self.error: UpstreamError | None = None
        self._on_text = on_text

    async def run(
        self, upstream: Upstream, limits: Limits = PATIENT, payload: dict[str, Any] = PAYLOAD
    ) -> None:
        await self.read(upstream.stream(payload, self.tally, limits))

    async def read(self, answer: AnswerStream) -> None:
        try:
            async with answer as stream:
                async for batch in stream:
                    self.text += "".join(piece.text for piece in batch)
                    if self._on_text is not None:
                        self._on_text()
        except UpstreamError as error:
            self.error = error


async def read(
    script: Script, limits: Limits = PATIENT, payload: dict[str, Any] = PAYLOAD
) -> Reading:
    """The reading of an upstream that plays `script`.

    Raises TimeoutError if it takes longer than any of the limits that a test may be about.
    """
    reading = Reading()
    async with ScriptedUpstream() as scripted, Upstream(scripted.base_url, KEY) as upstream:
        scripted.enqueue(script)
        async with asyncio.timeout(20):
            await reading.run(upstream, limits, payload)
    return reading
