"""Python's clients, as installed from their registry: a loop of two tools with each family."""

from collections import Counter
from pathlib import Path

import pytest

from tests.clients.conftest import PROGRAMS, Families
from tests.support.packages import locked_python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

_BOTH = ("chat", "chat-stream", "responses", "responses-stream")


@pytest.fixture(scope="session")
def python() -> Path:
    return locked_python("clients")


@pytest.mark.parametrize(
    ("program", "wires"),
    [
        ("openai_python", (*_BOTH, "responses-image")),
        ("langchain_client", (*_BOTH, "responses-previous")),
        ("openai_agents", (*_BOTH, "responses-previous")),
        ("pydantic_ai_client", (*_BOTH, "responses-previous")),
        pytest.param("litellm_client", _BOTH, marks=pytest.mark.long),
    ],
)
async def test_a_client_in_python_ends_its_loops_of_tools(
    program: str, wires: tuple[str, ...], python: Path, families: Families
) -> None:
    failed = await families.failed_loops(python, f"{program}.py", wires=wires, cwd=PROGRAMS)
    assert not failed, "\n".join(failed)
    for upstream in families.upstreams.values():
        assert not [rule for rule, times in Counter(upstream.refusals).items() if times > 1]


async def test_an_upstream_whose_profile_is_named_has_little_to_refuse(
    python: Path, named_families: Families
) -> None:
    failed = await named_families.failed_loops(
        python, "langchain_client.py", wires=_BOTH, cwd=PROGRAMS
    )
    assert not failed, "\n".join(failed)
    refusals = {family: each.refusals for family, each in named_families.upstreams.items()}
    assert refusals == {
        "openai": [],
        "mistral": ["Mistral has no stream_options", "Mistral knows the request's fields"],
        "deepseek": ["reasoning goes back with the calls that it led to"],
        "kimi": ["reasoning goes back with the calls that it led to"],
        "gemini": [],
        "ollama": [],
    }
