"""Two scripted upstreams in one table, and a worker that has them."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, open_rig, working
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.tracing import Tracer
from tickertape.worker.assembly import TIMING, WorkerTiming


@dataclass
class TwoUpstreams:
    """The upstreams `a`, which is called first, and `b`, and a rig beside the worker."""

    a: ScriptedUpstream
    b: ScriptedUpstream
    rig: Rig

    @property
    def calls(self) -> tuple[int, int]:
        return len(self.a.calls), len(self.b.calls)


def write_table(path: Path, *rows: dict[str, Any]) -> Path:
    """A table of these rows. What they hold is written in TOML as in JSON."""
    blocks = [
        "\n".join(["[[upstream]]", *(f"{name} = {_toml(value)}" for name, value in row.items())])
        for row in rows
    ]
    path.write_text("\n".join(blocks))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


@contextlib.asynccontextmanager
async def two_upstreams(
    redis_url: str,
    folder: Path,
    *,
    owner: str = "scripted",
    of_a: dict[str, Any] | None = None,
    of_b: dict[str, Any] | None = None,
    timing: WorkerTiming = TIMING,
    slots: int = 8,
    tracer: Tracer | None = None,
    lease_s: float = 1,
    **settings: Any,
) -> AsyncIterator[TwoUpstreams]:
    """`owner` is the family that both lists of models name, and `of_a` adds fields to a's row."""
    async with ScriptedUpstream() as a, ScriptedUpstream() as b:
        a.owner = b.owner = owner
        rows = [
            {"name": "a", "base_url": a.base_url, "order": 1, **(of_a or {})},
            {"name": "b", "base_url": b.base_url, "order": 2, **(of_b or {})},
        ]
        table = write_table(folder / "upstreams.toml", *rows)
        given = GivenSettings(upstreams=table, openai_model="m", lease_s=lease_s, **settings)
        async with (
            open_rig(redis_url, given) as rig,
            working(redis_url, given, timing=timing, slots=slots, tracer=tracer),
        ):
            yield TwoUpstreams(a, b, rig)
