"""The examples that need nothing but what is installed with the tests."""

import shutil

import pytest

from tests.examples.conftest import EXAMPLES, QUESTION, SHORTER, WHOLE, Run
from tests.support.running_api import RunningApi


@pytest.mark.slow
async def test_openais_python_client_chats(python: Run) -> None:
    assert await python("chat.py") == f"{WHOLE}\n{WHOLE}\n"


@pytest.mark.slow
async def test_openais_python_client_leaves_a_response_and_comes_back(python: Run) -> None:
    assert await python("background.py") == f"{WHOLE}\n{SHORTER}\n"


async def test_the_python_client_follows_an_answer(
    python: Run,
) -> None:
    assert await python("follow.py") == f"{WHOLE}\n"


async def test_curl_is_enough(api: RunningApi, run: Run) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    said = await run(EXAMPLES / "curl.sh", api.url, QUESTION)
    assert "event: completed" in said
    assert f"\n{WHOLE}\n" in said
    assert said.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("example", "document"),
    [
        ("agent.py", "functions.md"),
        ("pydantic_agent.py", "pydantic-ai.md"),
        ("langgraph_agent.py", "langgraph.md"),
        ("mounted.py", "mounting.md"),
    ],
)
def test_the_program_of_a_document_is_the_example(example: str, document: str) -> None:
    _, _, code = (EXAMPLES / example).read_text("utf-8").partition('"""\n\n')
    assert f"```python\n{code}```" in (EXAMPLES.parent / "docs" / document).read_text("utf-8")


def test_every_example_is_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    for example in EXAMPLES.iterdir():
        if example.name not in {"README.md", "__pycache__"}:
            assert f"]({example.name})" in listed
