"""A request in the words of the upstream it goes to: the exact messages, over real HTTP."""

from typing import Any

import pytest

from tests.support.script import Status, error_body
from tests.support.upstream import ScriptedUpstream
from tickertape.worker.prompt import Bounds, build
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import Rejected
from tickertape.worker.upstream.profiles import PROFILE_NAMES
from tickertape.worker.upstream.tally import Tally

CALL = {"id": "aB3xK9mP2", "type": "function", "function": {"name": "look", "arguments": "{}"}}
OUTCOME = {"role": "tool", "tool_call_id": "aB3xK9mP2", "content": "3"}
CALLING: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
THOUGHT = CALLING | {"reasoning_content": "Hm."}
QUESTION = {"role": "user", "content": "hi"}
LOOP = [QUESTION, THOUGHT, OUTCOME]
MISSING = (
    "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1"
)
PASSED_BACK = "The `reasoning_content` in the thinking mode must be passed back to the API."
# As Groq, Cerebras, Gemini and Mistral say it.
UNKNOWN: list[Any] = [
    error_body("'messages.1' : property 'reasoning_content' is unsupported", None),
    error_body("messages.1.assistant.reasoning_content: property is unsupported", None),
    error_body("Unknown name \"reasoning_content\" at 'messages[1]': Cannot find field.", None),
    {
        "detail": [
            {
                "type": "extra_forbidden",
                "loc": ["body", "messages", 1, "assistant", "reasoning_content"],
                "msg": "Extra inputs are not permitted",
            }
        ]
    },
]


async def ask(
    client: Upstream, messages: list[dict[str, Any]], model: str = "m", **fields: Any
) -> None:
    fields_of_payload = {"messages": messages, "params": {"model": model}, **fields}
    payload = build(fields_of_payload, [], Bounds(0, 128_000))
    async with client.stream(payload, Tally()) as stream:
        async for _ in stream:
            pass


async def sent_body(
    upstream: ScriptedUpstream, profile: str, messages: list[dict[str, Any]], **fields: Any
) -> dict[str, Any]:
    async with Upstream(upstream.base_url, profile=profile) as client:
        await ask(client, messages, **fields)
    return upstream.calls[-1].body


@pytest.mark.parametrize("profile", PROFILE_NAMES)
async def test_only_openai_is_sent_the_role_developer(
    upstream: ScriptedUpstream, profile: str
) -> None:
    rule = {"role": "developer", "content": "Be brief."}
    body = await sent_body(upstream, profile, [rule, QUESTION])
    expected = "developer" if profile == "openai" else "system"
    assert body["messages"] == [rule | {"role": expected}, QUESTION]


@pytest.mark.parametrize("profile", PROFILE_NAMES)
async def test_reasoning_goes_back_where_it_is_not_known_to_be_refused(
    upstream: ScriptedUpstream, profile: str
) -> None:
    body = await sent_body(upstream, profile, LOOP)
    refuses = profile in {"openai", "mistral", "gemini"}
    if profile == "gemini":
        del body["messages"][1]["tool_calls"][0]["extra_content"]
    assert body["messages"] == [QUESTION, CALLING if refuses else THOUGHT, OUTCOME]


@pytest.mark.parametrize("profile", PROFILE_NAMES)
async def test_fields_of_openai_alone_reach_no_other_upstream(
    upstream: ScriptedUpstream, profile: str
) -> None:
    body = await sent_body(upstream, profile, [QUESTION], openai_params={"prompt_cache_key": "k"})
    own = {"prompt_cache_key": "k"} if profile == "openai" else {}
    about = {"stream": True, "stream_options": {"include_usage": True}}
    assert body == {"model": "m", "messages": [QUESTION], **about, **own}


@pytest.mark.parametrize("refusal", UNKNOWN)
@pytest.mark.parametrize("status", [400, 422])
async def test_reasoning_is_left_out_after_its_first_refusal(
    upstream: ScriptedUpstream, refusal: dict[str, Any], status: int
) -> None:
    upstream.enqueue([Status(status, {}, refusal)])
    async with Upstream(upstream.base_url) as client:
        await ask(client, LOOP)
        await ask(client, LOOP)
    said = [call.body["messages"][1] for call in upstream.calls]
    assert said == [THOUGHT, CALLING, CALLING]


@pytest.mark.parametrize("said", [MISSING, PASSED_BACK])
async def test_reasoning_is_added_for_an_upstream_that_demands_it(
    upstream: ScriptedUpstream, said: str
) -> None:
    upstream.enqueue([Status(400, {}, error_body(said, None))])
    loop = [*LOOP, CALLING, OUTCOME]
    async with Upstream(upstream.base_url) as client:
        await ask(client, loop)
        await ask(client, loop)
    filled = CALLING | {"reasoning_content": " "}
    sent = [[call.body["messages"][at] for at in (1, 3)] for call in upstream.calls]
    assert sent == [[THOUGHT, CALLING], [THOUGHT, filled], [THOUGHT, filled]]


async def test_reasoning_that_a_profile_leaves_out_comes_back_when_it_is_demanded(
    upstream: ScriptedUpstream,
) -> None:
    upstream.enqueue([Status(400, {}, error_body(PASSED_BACK, None))])
    assert (await sent_body(upstream, "openai", LOOP))["messages"] == LOOP


async def test_what_one_model_refuses_another_still_gets(upstream: ScriptedUpstream) -> None:
    upstream.enqueue([Status(400, {}, UNKNOWN[0])])
    async with Upstream(upstream.base_url) as client:
        await ask(client, LOOP)
        await ask(client, LOOP, model="other")
    assert [call.body["messages"][1] for call in upstream.calls] == [THOUGHT, CALLING, THOUGHT]


@pytest.mark.parametrize("said", [MISSING, PASSED_BACK, "reasoning_content is unsupported"])
async def test_a_refusal_that_repeats_ends_the_request_with_its_reason(
    upstream: ScriptedUpstream, said: str
) -> None:
    upstream.script = [Status(400, {}, error_body(said, None))]
    async with Upstream(upstream.base_url) as client:
        with pytest.raises(Rejected, match="reasoning_content"):
            await ask(client, [*LOOP, CALLING, OUTCOME])
    assert len(upstream.calls) == 2


ORDER = "Unexpected role 'user' after role 'tool'"
GAP = [QUESTION, CALLING, OUTCOME, QUESTION]
BRIDGED = [QUESTION, CALLING, OUTCOME, {"role": "assistant", "content": "I see."}, QUESTION]


@pytest.mark.parametrize("profile", PROFILE_NAMES)
async def test_only_mistral_is_sent_an_answer_between_a_tool_and_a_question(
    upstream: ScriptedUpstream, profile: str
) -> None:
    body = await sent_body(upstream, profile, GAP)
    roles = [message["role"] for message in (BRIDGED if profile == "mistral" else GAP)]
    assert [message["role"] for message in body["messages"]] == roles


async def test_an_upstream_that_refuses_a_question_behind_a_tool_is_sent_an_answer_from_then_on(
    upstream: ScriptedUpstream,
) -> None:
    upstream.enqueue([Status(400, {}, error_body(ORDER, None))])
    async with Upstream(upstream.base_url) as client:
        await ask(client, GAP)
        await ask(client, GAP)
    assert [call.body["messages"] for call in upstream.calls] == [GAP, BRIDGED, BRIDGED]


async def test_a_request_refused_for_another_reason_is_not_repeated(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = [Status(400, {}, error_body("reasoning_content is not the fault", None))]
    async with Upstream(upstream.base_url) as client:
        with pytest.raises(Rejected):
            await ask(client, [QUESTION])
    assert len(upstream.calls) == 1


UNSIGNED = "Function call is missing a thought_signature in functionCall parts."
SKIPPED = {"google": {"thought_signature": "skip_thought_signature_validator"}}
SIGNED = CALLING | {"tool_calls": [CALL | {"extra_content": SKIPPED}]}


async def test_a_missing_signature_gets_a_placeholder_after_its_first_refusal(
    upstream: ScriptedUpstream,
) -> None:
    refusal = [{"error": {"code": 400, "message": UNSIGNED, "status": "INVALID_ARGUMENT"}}]
    upstream.enqueue([Status(400, {}, refusal)])
    loop = [QUESTION, CALLING, OUTCOME]
    async with Upstream(upstream.base_url) as client:
        await ask(client, loop)
        await ask(client, loop)
    said = [call.body["messages"][1] for call in upstream.calls]
    assert said == [CALLING, SIGNED, SIGNED]


async def test_gemini_always_gets_a_signature(upstream: ScriptedUpstream) -> None:
    body = await sent_body(upstream, "gemini", [QUESTION, CALLING, OUTCOME])
    assert body["messages"] == [QUESTION, SIGNED, OUTCOME]


async def test_a_model_may_refuse_reasoning_and_then_miss_its_signature(
    upstream: ScriptedUpstream,
) -> None:
    upstream.enqueue([Status(400, {}, UNKNOWN[2])], [Status(400, {}, error_body(UNSIGNED, None))])
    async with Upstream(upstream.base_url) as client:
        await ask(client, LOOP)
    said = [call.body["messages"][1] for call in upstream.calls]
    assert said == [THOUGHT, CALLING, SIGNED]


async def test_a_signature_that_is_still_missed_ends_the_request_with_its_reason(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = [Status(400, {}, error_body(UNSIGNED, None))]
    async with Upstream(upstream.base_url) as client:
        with pytest.raises(Rejected, match="Function call is missing"):
            await ask(client, [QUESTION, CALLING, OUTCOME])
    assert len(upstream.calls) == 2
