"""An API and a worker that record their spans, and the context of a caller."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from tests.support.given_settings import GivenSettings
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.spans import Recorder, recording
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}


@dataclass
class Traced:
    """An API and a worker that record their spans."""

    api: RunningApi
    spans: Recorder
    upstream: ScriptedUpstream

    async def ended(self, *names: str) -> None:
        """Wait until spans of these names have ended."""
        await wait_until(lambda: self.spans.has(*names), description=f"the spans {names}")


@contextlib.asynccontextmanager
async def traced(
    redis_url: str, upstream: ScriptedUpstream, *, has_gen_ai: bool = False, **settings: Any
) -> AsyncIterator[Traced]:
    """Both run for the length of the block."""
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m"}
    with recording(has_gen_ai=has_gen_ai) as spans:
        worker = working(
            redis_url, GivenSettings.model_validate(fields | settings), tracer=spans.tracer
        )
        async with running_api(redis_url, tracer=spans.tracer, **settings) as api, worker:
            yield Traced(api, spans, upstream)
