"""Node's clients, as installed from their registry: a loop of two tools with each family."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.clients.conftest import PROGRAMS, Families
from tests.support.node import installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_PROVIDERS = ("compatible", "compatible-stream", "chat", "chat-stream")
_RESPONSES = ("responses", "responses-stream")


@pytest.mark.parametrize(
    ("packages", "program", "wires"),
    [
        ("ai7", "openai_node", ("chat", "chat-stream", *_RESPONSES)),
        *((f"ai{version}", "ai_providers", (*_PROVIDERS, *_RESPONSES)) for version in (5, 6, 7)),
        *((f"ai{version}", "use_chat", ("use-chat",)) for version in (5, 6, 7)),
    ],
)
async def test_a_client_in_node_ends_its_loops_of_tools(
    packages: str, program: str, wires: tuple[str, ...], families: Families, tmp_path: Path
) -> None:
    folder = installed(tmp_path, packages)
    for script in PROGRAMS.glob("*.mjs"):
        shutil.copy(script, folder)
    failed = await families.failed_loops("node", f"{program}.mjs", wires=wires, cwd=folder)
    assert not failed, "\n".join(failed)
    for upstream in families.upstreams.values():
        assert not [rule for rule, times in Counter(upstream.refusals).items() if times > 1]
