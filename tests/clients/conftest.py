"""A whole Tickertape for each family of upstreams, before one that refuses what that refuses."""

import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_programs import run_client_program
from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.servers import in_memory, valkey_server
from tests.support.strict_rules import FAMILIES
from tests.support.strict_upstream import ANSWER, CALLED, QUESTION, StrictUpstream
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings

PROGRAMS = Path(__file__).parent / "programs"
_RUN_S = 300
# Of a family that is not named here, all is learned from its refusals.
_PROFILES = {"openai": "openai", "mistral": "mistral", "deepseek": "deepseek", "gemini": "gemini"}


@dataclass
class Families:
    """One Tickertape and its upstream for each family, by the family's name."""

    urls: dict[str, str] = field(default_factory=dict)
    upstreams: dict[str, StrictUpstream] = field(default_factory=dict)

    async def failed_loops(
        self, *command: str | Path, wires: tuple[str, ...], cwd: Path
    ) -> list[str]:
        """Run a client's program against each family over each wire: what went wrong, line by line.

        A loop is right if both tools were called, and it ended with the answer to their outputs.
        """
        targets = [
            {"family": family, "url": url, "wire": wire}
            for family, url in self.urls.items()
            for wire in wires
        ]
        ended = await self._run(command, cwd, {"question": QUESTION, "targets": targets})
        right = {"text": ANSWER, "called": CALLED}
        wrong = []
        for target in targets:
            name = f"{target['family']} over {target['wire']}"
            found = ended.get(name, {"error": "was not tried"})
            if found != right:
                wrong.append(f"{name}: {found.get('error') or found}")
        return wrong

    async def _run(
        self, command: tuple[str | Path, ...], cwd: Path, program: dict[str, Any]
    ) -> dict[str, dict[str, Any]]:
        environment = {**os.environ, "PROGRAM": json.dumps(program), "NODE_NO_WARNINGS": "1"}
        output = await run_client_program(command, environment, cwd=cwd, limit_s=_RUN_S)
        loops = [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]
        return {f"{loop.pop('family')} over {loop.pop('wire')}": loop for loop in loops}


@contextlib.asynccontextmanager
async def _running(profiles: dict[str, str]) -> AsyncIterator[Families]:
    running = Families()
    async with contextlib.AsyncExitStack() as stack:
        for family in FAMILIES:
            redis = stack.enter_context(valkey_server(parent=in_memory()))
            upstream = await stack.enter_async_context(ScriptedUpstream())
            running.upstreams[family] = strict = StrictUpstream(family)
            upstream.script = strict.script
            settings = Settings.model_validate(
                {
                    "openai_base_url": upstream.base_url,
                    "openai_model": "m",
                    "upstream_profile": profiles.get(family),
                }
            )
            api = await stack.enter_async_context(running_api(redis.url))
            await stack.enter_async_context(working(redis.url, settings))
            running.urls[family] = api.url
        yield running


@pytest.fixture
async def families() -> AsyncIterator[Families]:
    """Upstreams of which nothing is known: what they want is learned from their refusals."""
    async with _running({}) as running:
        yield running


@pytest.fixture
async def named_families() -> AsyncIterator[Families]:
    """Upstreams whose profile is set."""
    async with _running(_PROFILES) as running:
        yield running
