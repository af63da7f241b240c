"""`tickertape up` with nothing set: the real local model types."""

import importlib.util
from collections.abc import Iterator

import pytest

from tests.e2e.commands import running
from tests.e2e.conftest import Figure
from tests.support.callers import Caller
from tests.support.followers import following
from tests.support.up import Up
from tickertape.cli.up.model_weights import BUILT_IN_CONTEXT_TOKENS, BUILT_IN_MAX_TOKENS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None,
        reason="there is no xllamacpp wheel for this platform, or the 'local' extra is missing",
    ),
]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    # Proxies that were set for the internet do not know this machine (NemoClaw#2616).
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    everything = Up(tmp_path_factory.mktemp("up"), program=None, **proxies)
    try:
        everything.wait_until_printed("Ready after ")
        yield everything
    finally:
        code = everything.stop()
    assert code == 0


async def test_a_story_is_typed_word_by_word(up: Up, figure: Figure) -> None:
    async with Caller(up.url) as caller:
        request_id = await caller.submit("Write a short story about a lighthouse.", max_tokens=150)
        async with following(caller.stream_url(request_id)) as reader:
            await reader.ends(timeout_s=50)
        record = await caller.read(request_id)
    deltas = [event for event in reader.events if event.kind == "delta"]
    figure("deltas of a story", len(deltas))
    assert reader.kinds == ["queued", "started", "completed"]
    assert len(deltas) >= 20
    assert reader.text == record["text"]
    assert record["usage"]["completion_tokens"] >= 20


# Over a thousand tokens of prompt: seconds when nothing else runs, a minute on a busy machine.
@pytest.mark.timeout(180)
async def test_chat_in_the_role_of_ikun_answers_and_fits_into_the_context(
    up: Up, figure: Figure
) -> None:
    async with running(up.url, "chat", "-r", "ikun", "你是谁") as chat:
        typed, complaints = await chat.communicate()
    assert chat.returncode == 0, complaints
    assert typed.strip()
    async with Caller(up.url) as caller:
        newest = (await caller.client.get("/chat", params={"limit": 1})).json()["requests"][0]
        usage = (await caller.read(newest["request_id"]))["usage"]
    assert newest["role"] == "ikun"
    figure("tokens of the prompt", usage["prompt_tokens"])
    assert usage["prompt_tokens"] + BUILT_IN_MAX_TOKENS <= BUILT_IN_CONTEXT_TOKENS
