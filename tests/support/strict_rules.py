"""The refusals of real upstreams: one rule a row, with its families and its source.

Pure. `breached` finds the rules that a chat completion request breaks for a family. A family is a
group of upstreams with the same refusals; Ollama, vLLM and llama.cpp are the lenient ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.request_faults import (
    GEMINI_REFUSES,
    NINE,
    OPENAI_FIELDS,
    RESPONSES_FIELDS,
    Body,
    answers_no_call,
    asks_right_behind_a_tool,
    calls,
    calls_what_is_not_offered,
    ends_with_an_answer,
    has_a_call_without_json_object,
    has_an_empty_assistant_message,
    lacks_a_thought_signature,
    lacks_content,
    lacks_reasoning,
    leaves_a_call_unanswered,
    messages_of,
    mistral_extras,
    repeats_a_call_id,
    shows_an_image_in_a_tool_message,
)

FAMILIES = ("openai", "mistral", "deepseek", "kimi", "gemini", "ollama")


@dataclass(frozen=True)
class Rule:
    """`is_broken` checks whether a request body breaks the rule; `words` is the refusal's text."""

    name: str
    families: frozenset[str]
    source: str
    is_broken: Callable[[Body], bool]
    words: str


def breached(family: str, body: Body) -> list[Rule]:
    """The rules of this family that `body` breaks, in the order of the table."""
    return [rule for rule in RULES if family in rule.families and rule.is_broken(body)]


_ALL = frozenset(FAMILIES)
RULES = (
    Rule(
        "each call is answered right behind its message",
        _ALL,
        "CLIProxyAPI#3152, dify#32222 (DeepSeek), litellm#28995 (OpenAI)",
        leaves_a_call_unanswered,
        "An assistant message with 'tool_calls' must be followed by tool messages "
        "responding to each 'tool_call_id'.",
    ),
    Rule(
        "each tool message answers a call of the assistant message before it",
        _ALL,
        "https://platform.openai.com/docs/guides/function-calling, mistral-inference#135",
        answers_no_call,
        "Messages with role 'tool' must be a response to a message with 'tool_calls'.",
    ),
    Rule(
        "the ids of parallel calls differ",
        _ALL,
        "ollama#15457",
        repeats_a_call_id,
        "Duplicate value for 'tool_call_id'.",
    ),
    Rule(
        "a call's arguments are a JSON object",
        _ALL,
        "sglang#28035, litellm#33678, hermes-agent#3468 (Ollama's `invalid tool call arguments`)",
        has_a_call_without_json_object,
        "invalid tool call arguments",
    ),
    Rule(
        "only tools that are offered were called",
        _ALL,
        "hermes-agent#8259: a name that each piece repeats was doubled",
        calls_what_is_not_offered,
        "A function was called that is none of the tools.",
    ),
    Rule(
        "images stand in user messages only",
        _ALL - {"ollama"},
        "sglang#34927, OpenHands#7700",
        shows_an_image_in_a_tool_message,
        "Image URLs are only allowed for messages with role 'user'.",
    ),
    Rule(
        "OpenAI's newer models take no max_tokens",
        frozenset({"openai"}),
        "litellm#13432, opencode#37964",
        lambda body: "max_tokens" in body,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
    ),
    Rule(
        "OpenAI knows the request's fields",
        frozenset({"openai"}),
        "cherry-studio#6155: `Unrecognized request argument supplied`",
        lambda body: not body.keys() <= OPENAI_FIELDS,
        "Unrecognized request argument supplied",
    ),
    Rule(
        "only OpenAI knows the role developer",
        frozenset({"deepseek", "mistral", "kimi"}),
        "pi#1048, theia#15144: unknown variant `developer`",
        lambda body: bool(messages_of("developer", body)),
        "messages[0].role: unknown variant `developer`, expected one of `system`, `user`, "
        "`assistant`, `tool`",
    ),
    Rule(
        "no assistant message is empty",
        frozenset({"mistral", "kimi"}),
        "OpenHands#8685, LLMKube#935, kimi-code#1985",
        has_an_empty_assistant_message,
        "Assistant message must have either content or tool_calls, but not none.",
    ),
    Rule(
        "Mistral's call ids are nine letters and digits",
        frozenset({"mistral"}),
        "opencode#1680, pydantic-ai#3733",
        lambda body: not all(NINE.fullmatch(str(call.get("id"))) for call in calls(body)),
        "Tool call id was not as it must be: a-z, A-Z, 0-9, with a length of 9.",
    ),
    Rule(
        "Mistral answers a user or a tool",
        frozenset({"mistral"}),
        "smolagents#757: `Expected last role User or Tool`",
        ends_with_an_answer,
        "Expected last role User or Tool (or Assistant with prefix True) for serving",
    ),
    Rule(
        "Mistral wants an answer between a tool and a question",
        frozenset({"mistral"}),
        "litellm#17761, hermes-agent#20154, crush#279",
        asks_right_behind_a_tool,
        "Unexpected role 'user' after role 'tool'",
    ),
    Rule(
        "Mistral has no stream_options",
        frozenset({"mistral"}),
        "cline#582, anon-kode#53: `extra_forbidden`",
        lambda body: ["body", "stream_options"] in mistral_extras(body),
        "Extra inputs are not permitted",
    ),
    Rule(
        "Mistral knows the request's fields",
        frozenset({"mistral"}),
        "eca#231 (max_completion_tokens), platform-docs-public#7: `extra_forbidden`",
        lambda body: any(len(at) == 2 for at in mistral_extras(body) if at[1] != "stream_options"),
        "Extra inputs are not permitted",
    ),
    Rule(
        "Mistral knows the fields of messages and calls",
        frozenset({"mistral"}),
        "litellm#30835, crush#1590 (reasoning_content), mistral-go#2, zeroclaw#2693 (of a call)",
        lambda body: any(len(at) > 2 for at in mistral_extras(body)),
        "Extra inputs are not permitted",
    ),
    Rule(
        "reasoning goes back with the calls that it led to",
        frozenset({"deepseek", "kimi"}),
        "https://api-docs.deepseek.com/guides/thinking_mode, openai-agents-js#791, openclaw#73417, "
        "new-api#3121 (Kimi)",
        lacks_reasoning,
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
    ),
    Rule(
        "each message has a content, if only null",
        frozenset({"deepseek"}),
        "deepseek4j#41, spring-ai-alibaba#4561: missing field `content`",
        lacks_content,
        "messages[2]: missing field `content`",
    ),
    Rule(
        "Gemini's thought signature goes back with its call",
        frozenset({"gemini"}),
        "https://ai.google.dev/gemini-api/docs/thought-signatures, openai-agents-python#4506",
        lacks_a_thought_signature,
        "Function call is missing a thought_signature in functionCall parts.",
    ),
    Rule(
        "Gemini knows the request's fields",
        frozenset({"gemini"}),
        "openhanako#394 (store), SkyrimNet-GamePlugin#77: `Unknown name`",
        lambda body: bool(body.keys() & GEMINI_REFUSES),
        "Invalid JSON payload received. Unknown name: Cannot find field.",
    ),
    Rule(
        "no field of the Responses API is passed on",
        _ALL,
        "https://platform.openai.com/docs/api-reference/responses/create",
        lambda body: bool(body.keys() & RESPONSES_FIELDS),
        "Unrecognized request argument supplied",
    ),
)
