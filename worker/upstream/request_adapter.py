"""Pure: how a request is put to one upstream, and what its refusals teach about that.

Servers that call themselves compatible refuse fields of each other, and say so in a 400 or 422 that
names the field. What was refused once is left out or renamed from then on.
"""

import re
from typing import Any, TypeVar

from tickertape.worker.upstream.gemini_signatures import lacks_signature, with_placeholder_signature
from tickertape.worker.upstream.mistral_messages import is_gap_refused, with_tools_answered
from tickertape.worker.upstream.past_reasoning import PastReasoning, past_reasoning_after
from tickertape.worker.upstream.profiles import Profile
from tickertape.worker.upstream.request_body import build_body

T = TypeVar("T")

MAX_TOKENS = "max_tokens"
MAX_COMPLETION_TOKENS = "max_completion_tokens"
_OTHER_NAME = {MAX_TOKENS: MAX_COMPLETION_TOKENS, MAX_COMPLETION_TOKENS: MAX_TOKENS}
# Models are named by requests: so many names must not fill the memory.
_MAX_MODELS = 1000
_UNKNOWN_FIELD = re.compile(
    r"""
      (?: unsupported | unrecogni[sz]ed | unknown | unexpected ) \s+ (?: \w+ \s+ )?
          (?: parameter | argument | field | name | key | property | keyword )
    | extra \s+ (?: inputs | fields ) | extra_forbidden | additional \s+ (?: property | properties )
    | (?: not | no \s+ longer ) \s+ (?: support | supported | permitted | allowed ) \b
    | is \s+ unsupported
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Another name would not mend a wrong value ("max_tokens above 4096 is not supported").
_WRONG_VALUE = re.compile(
    r"\b(?:above|below|more|less|greater|at most|at least|exceeds?|maximum|minimum|range|value"
    r"|too (?:large|small|high|low|big|many))\b",
    re.IGNORECASE,
)
_ADVICE = re.compile(r"\buse \W?\w+\W? instead", re.IGNORECASE)


class RequestAdapter:
    """What one upstream was found to take.

    Models behind one address differ, so all but `stream_options` is learned for each.
    """

    def __init__(self) -> None:
        self._takes_stream_options = True
        self._limit_names: dict[str, str] = {}
        self._reasoning: dict[str, PastReasoning] = {}
        self._answers_tools: dict[str, bool] = {}
        self._signs_calls: dict[str, bool] = {}

    def body(self, profile: Profile, payload: dict[str, Any], model: str | None) -> dict[str, Any]:
        """The body of the call: `payload`, streamed, with `model` where it names none."""
        asked_model = str(payload.get("model") or model or "")
        usual = PastReasoning.LEFT_OUT if profile.refuses_reasoning else PastReasoning.KEPT
        body = build_body(profile, payload, self._reasoning.get(asked_model, usual))
        if self._answers_tools.get(asked_model, profile.name == "mistral"):
            body["messages"] = with_tools_answered(body["messages"])
        if self._signs_calls.get(asked_model, profile.name == "gemini"):
            body["messages"] = [*map(with_placeholder_signature, body["messages"])]
        body["stream"] = True
        if asked_model:
            body["model"] = asked_model
        name = self._limit_names.get(asked_model)
        if name is None and MAX_TOKENS in body:
            name = profile.length_limit
        if name is not None and (other := _OTHER_NAME[name]) in body:
            body.setdefault(name, body.pop(other))
        options = body.pop("stream_options", None) or {}
        if self._takes_stream_options:
            body["stream_options"] = {**options, "include_usage": True}
        return body

    def learn(self, body: dict[str, Any], said: object, message: str) -> str | None:
        """The field of `body` that was refused, if the same request is put otherwise from now on.

        `said` is all that the upstream answered, `message` its text. A limit that is refused under
        both names is not put otherwise, and both are forgotten.
        """
        model = str(body.get("model") or "")
        if "stream_options" in body and ("stream_options" in message or "include_usage" in message):
            self._takes_stream_options = False
            return "stream_options"
        if (wanted := past_reasoning_after(str(said), body)) is not None:
            _note(self._reasoning, model, wanted)
            return "reasoning"
        if is_gap_refused(message, body.get("messages", [])):
            _note(self._answers_tools, model, found=True)
            return "order"
        if "thought_signature" in message and any(map(lacks_signature, body.get("messages", []))):
            _note(self._signs_calls, model, found=True)
            return "signature"
        refused = _refused_limit(body, message)
        if refused is None:
            return None
        if self._limit_names.get(model) == refused:
            del self._limit_names[model]
            return None
        _note(self._limit_names, model, _OTHER_NAME[refused])
        return refused


def _note(known: dict[str, T], model: str, found: T) -> None:
    if len(known) >= _MAX_MODELS:
        known.clear()
    known[model] = found


def _refused_limit(body: dict[str, Any], said: str) -> str | None:
    """The name that was refused. Where both were sent, the old one gives way."""
    if _WRONG_VALUE.search(said) or not _UNKNOWN_FIELD.search(said):
        return None
    said = _ADVICE.sub("", said)
    sent = (name for name in (MAX_TOKENS, MAX_COMPLETION_TOKENS) if name in body)
    return next((name for name in sent if re.search(rf"\b{name}\b", said)), None)
