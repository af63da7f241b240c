"""How a request is put to an upstream, and what its refusals teach: without and with HTTP."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.reading import KEY, PAYLOAD, QUESTION, Reading
from tests.support.rig import open_rig, working
from tests.support.script import Chunk, Script, Status, answer, error_body
from tests.support.upstream import Call, ScriptedUpstream
from tickertape.runtime.settings import Settings
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import Rejected, UpstreamFault
from tickertape.worker.upstream.profiles import profile_for
from tickertape.worker.upstream.request_adapter import RequestAdapter

OPENAI = (
    "Unsupported parameter: 'max_tokens' is not supported with this model."
    " Use 'max_completion_tokens' instead."
)
OLD_AZURE = "Unrecognized request argument supplied: max_completion_tokens"
VLLM = (
    "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), 'msg':"
    " 'Extra inputs are not permitted', 'input': 5}]"
)
NEW = {"max_completion_tokens": 5}
OLD = {"max_tokens": 5}


def limits(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name.startswith("max_")}


def limits_after(refusal: str, sent: dict[str, Any], *, profile: str = "other") -> dict[str, Any]:
    """The limits of the next request for the same, after a refusal with these words."""
    adapter = RequestAdapter()
    payload = {"model": "m", "messages": [QUESTION], **sent}
    family = profile_for(profile, "")
    adapter.learn(adapter.adapt(family, payload, None), refusal, refusal)
    return limits(adapter.adapt(family, payload, None))


@pytest.mark.parametrize(
    ("refusal", "sent", "expected"),
    [
        (OPENAI, OLD, NEW),  # litellm#13432
        (OLD_AZURE, NEW, OLD),  # litellm#8855
        (VLLM, NEW, OLD),  # void#128
        ("body.max_completion_tokens: Extra inputs are not permitted", NEW, OLD),
        ('Unknown name "max_completion_tokens": Cannot find field.', NEW, OLD),
        ("property 'max_completion_tokens' is unsupported", NEW, OLD),
        ("unknown field `max_completion_tokens`, expected `messages`", NEW, OLD),
        ("got an unexpected keyword argument 'max_completion_tokens'", NEW, OLD),
        ("max_tokens is no longer supported", OLD, NEW),
        ("This model does not support max_tokens", OLD, NEW),
        # vscode-unify-chat-provider#279
        ("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
         OLD | NEW, NEW),
        # It is the value that is wrong, or another field.
        ("max_tokens is too large: 5. This model supports at most 4 completion tokens", OLD, OLD),
        ("max_tokens above 4096 is not supported", OLD, OLD),
        ("Invalid value for max_tokens: not allowed", OLD, OLD),
        ("Unsupported parameter: 'temperature' is not supported with this model.", OLD, OLD),
        ("Unsupported parameter: 'max_tokens_to_sample'", OLD, OLD),
        ("Unknown parameter: 'response_format.max_tokens'", OLD, OLD),
        # A gateway renames it itself, to what the upstream behind it refuses.
        (OPENAI, NEW, NEW),
        (OPENAI, {}, {}),
    ],
)  # fmt: skip
def test_a_limit_that_was_refused_by_name_has_the_other_name_from_then_on(
    refusal: str, sent: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert limits_after(refusal, sent) == expected


def test_a_refused_name_is_replaced_whatever_the_profile() -> None:
    assert limits_after(OLD_AZURE, OLD, profile="openai") == OLD
    assert limits_after(OLD_AZURE, NEW, profile="openai") == OLD


def test_a_name_is_learned_for_its_model_only() -> None:
    adapter = RequestAdapter()
    other = profile_for("other", "")
    payload = {"model": "new", "messages": [], **OLD}
    assert adapter.learn(adapter.adapt(other, payload, None), OPENAI, OPENAI)
    assert limits(adapter.adapt(other, payload, None)) == NEW
    assert limits(adapter.adapt(other, payload | {"model": "old"}, None)) == OLD


def test_a_limit_refused_under_both_names_is_forgotten() -> None:
    adapter = RequestAdapter()
    other = profile_for("other", "")
    payload = {"model": "m", "messages": [], **OLD}
    assert adapter.learn(adapter.adapt(other, payload, None), OPENAI, OPENAI)
    assert adapter.learn(adapter.adapt(other, payload, None), OLD_AZURE, OLD_AZURE) is None
    assert limits(adapter.adapt(other, payload, None)) == OLD


def test_names_of_models_do_not_fill_the_memory() -> None:
    adapter = RequestAdapter()
    other = profile_for("other", "")
    payload: dict[str, Any] = {}
    for n in range(2500):
        payload = {"model": f"m{n}", "messages": [], **OLD}
        assert adapter.learn(adapter.adapt(other, payload, None), OPENAI, OPENAI)
    assert len(adapter._limit_names) <= 1000
    assert limits(adapter.adapt(other, payload, None)) == NEW


@pytest.mark.parametrize("value", ["cache_salt", {"cache_salt": 1}])
def test_a_quoted_value_of_a_caller_does_not_end_the_salts(value: object) -> None:
    adapter = RequestAdapter()
    vllm = profile_for("vllm", "")
    salted = {"model": "m", "messages": [QUESTION], "cache_key": "salt of ada"}
    refusal = f"temperature: Input should be a valid number, input: {value}"
    body = adapter.adapt(vllm, salted | {"temperature": value}, None)
    assert body["cache_salt"] == "salt of ada"
    assert adapter.learn(body, refusal, refusal) is None
    assert adapter.adapt(vllm, salted, None)["cache_salt"] == "salt of ada"


@pytest.mark.parametrize(
    "fields",
    [{"response_format": {"type": "include_usage"}}, {"stream_options": {"bogus": True}}],
    ids=["a value", "an option"],
)
def test_a_quoted_value_of_a_caller_does_not_end_the_usage_of_others(
    fields: dict[str, Any],
) -> None:
    adapter = RequestAdapter()
    other = profile_for("other", "")
    refusal = (
        "Invalid value: 'include_usage'"
        if "response_format" in fields
        else ("Unknown parameter: 'stream_options.bogus'")
    )
    body = adapter.adapt(other, {"model": "m", "messages": [QUESTION], **fields}, None)
    assert adapter.learn(body, refusal, refusal) is None
    adapted = adapter.adapt(other, {"model": "m", "messages": [QUESTION]}, None)
    assert adapted["stream_options"] == {"include_usage": True}


def refusing(refused: str, refusal: str) -> Callable[[Call], Script]:
    def script(call: Call) -> Script:
        if refused in call.body:
            return [Status(400, {}, error_body(refusal, "unsupported_parameter"))]
        return answer("Hello, world.")

    return script


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[Upstream]:
    async with Upstream(upstream.base_url, KEY) as client:
        yield client


@pytest.mark.parametrize(("refusal", "limit", "sent"), [(OPENAI, OLD, NEW), (OLD_AZURE, NEW, OLD)])
async def test_a_refused_limit_costs_one_more_call_once(
    upstream: ScriptedUpstream,
    client: Upstream,
    refusal: str,
    limit: dict[str, Any],
    sent: dict[str, Any],
) -> None:
    upstream.script = refusing(next(iter(limit)), refusal)
    for _ in range(2):
        reading = Reading()
        await reading.run(client, payload=PAYLOAD | limit)
        assert (reading.text, reading.error) == ("Hello, world.", None)
    assert [limits(call.body) for call in upstream.calls] == [limit, sent, sent]


async def test_an_upstream_that_accepts_neither_name_is_called_twice_and_no_more(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    upstream.enqueue(
        [Status(400, {}, error_body(OPENAI, None))], [Status(400, {}, error_body(OLD_AZURE, None))]
    )
    reading = Reading()
    await reading.run(client, payload=PAYLOAD | OLD)
    assert type(reading.error) is Rejected
    assert reading.error.message == OLD_AZURE
    assert len(upstream.calls) == 2


async def test_several_fields_are_learned_with_one_request(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    options = error_body("Unknown field: stream_options", None)
    upstream.enqueue([Status(422, {}, options)], [Status(400, {}, error_body(OPENAI, None))])
    reading = Reading()
    await reading.run(client, payload=PAYLOAD | OLD)
    assert reading.error is None
    assert "stream_options" not in upstream.calls[2].body
    assert limits(upstream.calls[2].body) == NEW


async def test_a_field_that_is_refused_inside_a_stream_is_put_otherwise_at_the_next_try(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    upstream.enqueue([Chunk(error_body(OPENAI, "invalid_request_error"))])
    reading = Reading()
    await reading.run(client, payload=PAYLOAD | OLD)
    assert type(reading.error) is UpstreamFault
    await reading.run(client, payload=PAYLOAD | OLD)
    assert [limits(call.body) for call in upstream.calls] == [OLD, NEW]


async def test_a_refused_limit_never_shows(redis_url: str, upstream: ScriptedUpstream) -> None:
    def in_stream(call: Call) -> Script:
        if "max_tokens" in call.body:
            return [Chunk(error_body(OPENAI, "invalid_request_error"))]
        return answer("Hello, world.")

    settings = Settings.model_validate(
        {"openai_base_url": upstream.base_url, "openai_model": "m", "lease_s": 1}
    )
    for script in (refusing("max_tokens", OPENAI), in_stream):
        upstream.script = script
        upstream.calls.clear()
        async with open_rig(redis_url, settings) as rig, working(redis_url, settings):
            answered = await rig.ended(await rig.ask(params=OLD))
        assert "".join(answered.text) == "Hello, world."
        assert [limits(call.body) for call in upstream.calls] == [OLD, NEW]


async def test_what_a_refusal_taught_is_forgotten_when_it_did_not_help(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    # The first refusal quotes the caller. Its fault is another one, so the second body fails too.
    upstream.enqueue(
        [Status(400, {}, error_body("'max_tokens' is not supported", None))],
        [Status(400, {}, error_body("temperature is too hot", None))],
    )
    reading = Reading()
    await reading.run(client, payload=PAYLOAD | OLD)
    assert type(reading.error) is Rejected
    upstream.script = lambda _: answer("fine")
    await Reading().run(client, payload=PAYLOAD | OLD)
    assert [limits(call.body) for call in upstream.calls] == [OLD, NEW, OLD]
