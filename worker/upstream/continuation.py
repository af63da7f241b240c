"""Pure: the request that makes an upstream continue a partial answer."""

from typing import Any

from tickertape.worker.upstream.profiles import Profile


def can_be_continued(payload: dict[str, Any]) -> bool:
    """Whether a partial answer to this request may be continued, if the upstream supports that.

    Not with tools or a response format, whose output is not plain text; not with several answers;
    and not if the request already ends with the beginning of an answer.
    """
    messages = payload.get("messages") or [{}]
    form = payload.get("response_format") or {}
    return (
        not (payload.get("tools") or payload.get("functions") or payload.get("audio"))
        and form.get("type", "text") == "text"
        and (payload.get("n") or 1) == 1
        and messages[-1].get("role") != "assistant"
    )


def continue_request(
    profile: Profile, payload: dict[str, Any], kept_text: str, kept_deltas: int
) -> dict[str, Any]:
    """`payload`, changed so that the upstream continues after `kept_text`.

    The token limit shrinks by `kept_deltas`, because a delta is about one token. At least one token
    remains, because upstreams refuse a limit of 0. Limits that are not counts, such as llama.cpp's
    -1, stay.
    """
    kept = {"role": "assistant", "content": kept_text, **profile.message}
    changed = {**payload, **profile.request, "messages": [*payload["messages"], kept]}
    for name in ("max_tokens", "max_completion_tokens", "n_predict"):
        limit = changed.get(name)
        if isinstance(limit, int | float) and limit > 0:
            changed[name] = max(1, limit - kept_deltas)
    return changed
