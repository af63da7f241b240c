"""What the client learns from an upstream's model list, and how it continues an answer."""

import asyncio
from typing import Any

import pytest

from tests.support.connection import Connection
from tests.support.reading import PAYLOAD, QUESTION, Reading
from tests.support.rig import open_rig, working
from tests.support.script import Cut, Done, Finish, Reasoning, Role, Script, Text, answer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings
from tickertape.worker.assembly import WorkerTiming
from tickertape.worker.model_watch import ModelWatchTiming
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import Stalled, Unreachable, UpstreamGarbage
from tickertape.worker.upstream.tally import Tally


async def test_models_are_listed_and_tell_the_profile(upstream: ScriptedUpstream) -> None:
    upstream.models = ["a", "b/c"]
    async with Upstream(upstream.base_url) as client:
        assert [model["id"] for model in await client.list_models()] == ["a", "b/c"]
        assert client.profile.name == "other"


def listing(monkeypatch: pytest.MonkeyPatch, models: list[dict[str, Any]]) -> None:
    monkeypatch.setattr(ScriptedUpstream, "_model_list", lambda self: models)


async def test_a_profile_that_was_set_is_not_guessed_over(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(monkeypatch, [{"id": "m", "owned_by": "vllm"}, {"no": "id"}])
    async with Upstream(upstream.base_url) as client:
        assert [model["id"] for model in await client.list_models()] == ["m"]
        assert client.profile.name == "vllm"
    async with Upstream(upstream.base_url, profile="openai") as client:
        await client.list_models()
        assert client.profile.name == "openai"


async def test_without_an_address_the_profile_is_that_of_the_default_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    async with Upstream() as client:
        assert client.profile.name == "openai"


async def test_a_worker_goes_by_the_profile_that_was_set_though_no_models_are_listed(
    redis_url: str, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = WorkerTiming(models=ModelWatchTiming(first_list_s=0))
    monkeypatch.setattr(ScriptedUpstream, "_model_list", lambda self: "odd")
    fields = {"openai_base_url": upstream.base_url, "upstream_profile": "vllm", "lease_s": 1}
    settings = Settings.model_validate(fields)
    upstream.enqueue([Role(), Text("half"), Cut()], [Role(), Text(" and half"), Finish()])
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings, timing=timing):
        answered = await rig.ended(await rig.ask(on_interruption="continue"))
    assert "".join(answered.text) == "half and half"
    assert upstream.calls[1].body["continue_final_message"] is True


async def test_a_malformed_list_of_models_is_refused(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedUpstream, "_model_list", lambda self: "odd")
    async with Upstream(upstream.base_url) as client:
        with pytest.raises(UpstreamGarbage):
            await client.list_models()


@pytest.mark.parametrize("depth", [1_500, 20_000])
async def test_a_list_of_models_that_is_too_deep_to_look_through_is_refused(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    deep = '{"data": [{"id": "m", "x": ' + "[" * depth + "]" * depth + "}]}"

    def respond_deep(connection: Connection, status: int, body: object) -> None:
        connection.respond(status, {"content-type": "application/json"}, deep.encode())

    monkeypatch.setattr(Connection, "respond_json", respond_deep)
    async with Upstream(upstream.base_url) as client:
        with pytest.raises(UpstreamGarbage):
            await client.list_models()


class Mute(asyncio.Protocol):
    """A server's side of a connection on which it never says anything."""

    def __init__(self, live: set["Mute"]) -> None:
        self._live = live

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._live.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.discard(self)


async def test_the_wait_for_the_list_of_models_is_limited() -> None:
    live: set[Mute] = set()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Mute(live), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Upstream(f"http://127.0.0.1:{port}/v1", models_limit_s=0.05) as client:
            with pytest.raises(Stalled):
                await client.list_models()
        await wait_until(lambda: not live, description="the client to hang up")


async def test_models_of_an_upstream_that_is_down(upstream: ScriptedUpstream) -> None:
    await upstream.close()
    async with Upstream(upstream.base_url) as client:
        with pytest.raises(Unreachable):
            await client.list_models()


async def test_a_partial_answer_is_continued_in_the_upstreams_dialect(
    upstream: ScriptedUpstream,
) -> None:
    upstream.enqueue(answer([" three", " four"]))
    tally = Tally("One, two,", kept_deltas=4)
    async with Upstream(upstream.base_url, profile="vllm") as client:
        assert client.can_continue(PAYLOAD, tally)
        await Reading(tally).run(client, payload=PAYLOAD | {"max_tokens": 100})
    body = upstream.calls[0].body
    assert body["messages"] == [QUESTION, {"role": "assistant", "content": "One, two,"}]
    assert (body["continue_final_message"], body["max_tokens"]) == (True, 96)
    assert tally.text == "One, two, three four"


async def test_kept_text_that_the_upstream_repeats_is_dropped(
    upstream: ScriptedUpstream,
) -> None:
    upstream.enqueue(answer(["One, two,", " three"]))
    tally = Tally("One, two,", kept_deltas=4)
    async with Upstream(upstream.base_url, profile="mistral") as client:
        await Reading(tally).run(client)
    assert tally.text == "One, two, three"


@pytest.mark.parametrize(
    ("profile", "script", "expected"),
    [
        ("vllm", [Text("a")], True),
        ("vllm", [Role()], False),
        ("vllm", [Reasoning("hm"), Text("a")], False),
        ("openai", [Text("a")], False),
    ],
)
async def test_only_text_alone_and_of_an_able_upstream_can_be_continued(
    upstream: ScriptedUpstream, profile: str, script: Script, expected: bool
) -> None:
    upstream.enqueue([*script, Finish(), Done()])
    tally = Tally()
    async with Upstream(upstream.base_url, profile=profile) as client:
        await Reading(tally).run(client)
        assert client.can_continue(PAYLOAD, tally) == expected
        assert not client.can_continue(PAYLOAD | {"tools": [{}]}, tally)
