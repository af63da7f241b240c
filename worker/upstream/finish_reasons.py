"""Pure: the finish_reason that an upstream sends, in OpenAI's words.

All translations are in this table. Another reason is passed on as it is. For a reason that its
clients do not know, each wire reports an incomplete answer, and never `stop`.
"""

import re

from tickertape.worker.upstream.errors import UpstreamError, UpstreamFault, UpstreamGarbage

_MAX_CHARS = 100

# In the form that `_plain` returns. docs/wires.md names the families that send them.
_MEANINGS = {
    "stop": "stop eos eos_token end_turn stop_sequence complete completed normal",
    "length": "length max_tokens model_length max_length max_output_tokens token_limit"
    " token_limit_reached model_context_window_exceeded error_limit",
    "tool_calls": "tool_calls tool_call tool_use",
    "function_call": "function_call",
    "content_filter": "content_filter content_filtered content_filter_error sensitive safety"
    " recitation language blocklist prohibited_content spii image_safety image_recitation"
    " image_prohibited_content guardrail_intervened refusal error_toxic",
}
# Some servers send a text for "not finished", where OpenAI sends null.
_NOT_YET = frozenset({"", "null", "none", "unspecified", "not_finished"})
# The answer broke off at the upstream. The next try has a fair chance.
_BROKEN_OFF = (
    "abort aborted error failed network_error insufficient_system_resource server_error"
    " internal_error timeout time_limit cancelled canceled user_cancel"
)
# The upstream could not parse the output of the model, and did not send it.
_UNREADABLE = (
    "malformed_function_call malformed_tool_use malformed_model_output malformed_response"
    " unexpected_tool_call too_many_tool_calls"
)
_WORDS = {word: meaning for meaning, words in _MEANINGS.items() for word in words.split()}
_FAILURES = {
    **dict.fromkeys(_BROKEN_OFF.split(), UpstreamFault),
    **dict.fromkeys(_UNREADABLE.split(), UpstreamGarbage),
}
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def translate_finish_reason(sent: str) -> str | None:
    """OpenAI's word for a reason, an unknown reason as it is, or None for "not finished".

    Gemini joins two reasons (`function_call_filter: MALFORMED_FUNCTION_CALL`). The last known one
    counts.
    """
    if sent in _WORDS:
        return _WORDS[sent]
    if _plain(sent) in _NOT_YET:
        return None
    for part in [sent, *reversed(sent.split(":"))]:
        word = _plain(part)
        if word in _WORDS:
            return _WORDS[word]
        if word in _FAILURES:
            return word
    return sent[:_MAX_CHARS]


def failure_for(reason: str) -> UpstreamError | None:
    """The error for a translated reason that stands for one; None for all others."""
    failure = _FAILURES.get(reason)
    return failure(f"The upstream ended its answer early: {reason}.") if failure else None


def _plain(reason: str) -> str:
    words = _HUMP.sub("_", reason.strip()).lower().replace("-", "_").replace(" ", "_")
    return words.removeprefix("finish_reason_")
