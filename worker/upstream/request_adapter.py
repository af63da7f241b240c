"""Pure: adapts requests to one upstream, and learns from its refusals.

Compatible servers refuse some fields of other servers, with a 400 or 422 that names the field. A
field that was refused once is omitted or renamed from then on.
"""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from tickertape.worker.upstream.cache_isolation import CACHE_FIELDS, set_cache_field
from tickertape.worker.upstream.gemini_signatures import lacks_signature, with_placeholder_signature
from tickertape.worker.upstream.mistral_messages import is_gap_refused, with_tools_answered
from tickertape.worker.upstream.past_reasoning import PastReasoning, past_reasoning_after
from tickertape.worker.upstream.profiles import Profile
from tickertape.worker.upstream.request_body import build_body

T = TypeVar("T")

MAX_TOKENS = "max_tokens"
MAX_COMPLETION_TOKENS = "max_completion_tokens"
_OTHER_NAME = {MAX_TOKENS: MAX_COMPLETION_TOKENS, MAX_COMPLETION_TOKENS: MAX_TOKENS}
# A name behind a dot is that of a field within another one.
_LIMIT = re.compile(rf"(?<![\w.])(?:body\.)?({MAX_TOKENS}|{MAX_COMPLETION_TOKENS})\b")
# Requests name the models, so the number of remembered models needs a bound.
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
# Another name does not help with a wrong value ("max_tokens above 4096 is not supported").
_WRONG_VALUE = re.compile(
    r"\b(?:above|below|more|less|greater|at most|at least|exceeds?|maximum|minimum|range|value"
    r"|too (?:large|small|high|low|big|many))\b",
    re.IGNORECASE,
)
# The field that is added to every request, and what it holds.
_USAGE_FIELDS = ("stream_options", "include_usage")
_ADVICE = re.compile(r"\buse \W?\w+\W? instead", re.IGNORECASE)


class RequestAdapter:
    """Adapts requests to what one upstream has refused before.

    Models behind one address differ, so all refusals but that of `stream_options` are remembered
    per model.
    """

    def __init__(self) -> None:
        self._takes_stream_options = True
        self._limit_names: dict[str, str] = {}
        self._reasoning: dict[str, PastReasoning] = {}
        self._answers_tools: dict[str, bool] = {}
        self._signs_calls: dict[str, bool] = {}
        self.takes_cache_field = True

    def adapt(self, profile: Profile, payload: dict[str, Any], model: str | None) -> dict[str, Any]:
        """The body to send for `payload`, with `stream` set, and `model` as the default model."""
        model_name = str(payload.get("model") or model or "")
        usual = PastReasoning.LEFT_OUT if profile.refuses_reasoning else PastReasoning.KEPT
        body = build_body(profile, payload, self._reasoning.get(model_name, usual))
        if self._answers_tools.get(model_name, profile.name == "mistral"):
            body["messages"] = with_tools_answered(body["messages"])
        if self._signs_calls.get(model_name, profile.name == "gemini"):
            body["messages"] = [*map(with_placeholder_signature, body["messages"])]
        if self.takes_cache_field:
            set_cache_field(body, profile.name, payload.get("cache_key"))
        body["stream"] = True
        if model_name:
            body["model"] = model_name
        name = self._limit_names.get(model_name)
        if name is None and MAX_TOKENS in body:
            name = profile.length_limit
        if name is not None and (other := _OTHER_NAME[name]) in body:
            body.setdefault(name, body.pop(other))
        options = body.pop("stream_options", None) or {}
        if self._takes_stream_options:
            body["stream_options"] = {**options, "include_usage": True}
        return body

    def learn(self, body: dict[str, Any], answer: object, message: str) -> str | None:
        """Learn from the refusal of `body`, if `adapt` can avoid it from now on.

        `answer` is all of the upstream's answer, `message` its text. Returns the name of the
        refused part, or None if nothing was learned. A limit that is refused under both names is
        not avoided, and the adapter forgets both names.
        """
        model = str(body.get("model") or "")
        if _is_refused("stream_options", _USAGE_FIELDS, body, message):
            self._takes_stream_options = False
            return "stream_options"
        for field in CACHE_FIELDS:
            if _is_refused(field, (field,), body, message):
                self.takes_cache_field = False
                return field
        if (wanted := past_reasoning_after(str(answer), body)) is not None:
            _remember(self._reasoning, model, wanted)
            return "reasoning"
        if is_gap_refused(message, body.get("messages", [])):
            _remember(self._answers_tools, model, value=True)
            return "order"
        if "thought_signature" in message and any(map(lacks_signature, body.get("messages", []))):
            _remember(self._signs_calls, model, value=True)
            return "signature"
        refused = _refused_limit(body, message)
        if refused is None:
            return None
        if self._limit_names.get(model) == refused:
            del self._limit_names[model]
            return None
        _remember(self._limit_names, model, _OTHER_NAME[refused])
        return refused

    def unlearn(self, body: dict[str, Any], refused: str) -> None:
        """Forget what `learn` returned for `body`, because the adapted body was refused as well.

        Otherwise a caller whose fault was another one would change the requests of all callers.
        """
        model = str(body.get("model") or "")
        if refused == "stream_options":
            self._takes_stream_options = True
        elif refused in CACHE_FIELDS:
            self.takes_cache_field = True
        else:
            by_model: dict[str, dict[str, Any]] = {
                "reasoning": self._reasoning,
                "order": self._answers_tools,
                "signature": self._signs_calls,
            }
            by_model.get(refused, self._limit_names).pop(model, None)


def _is_refused(field: str, names: Sequence[str], body: dict[str, Any], message: str) -> bool:
    """Whether the refusal of `body` names this field of all requests.

    A caller whose values name the field, and are quoted, must not change the requests of others.
    """
    if field not in body or not any(name in message for name in names):
        return False
    others = str({name: value for name, value in body.items() if name != field})
    own = body[field]
    has_more = isinstance(own, dict) and not own.keys() <= {*names}
    return not has_more and not any(name in others for name in names)


def _remember(known: dict[str, T], model: str, value: T) -> None:
    if len(known) >= _MAX_MODELS:
        known.clear()
    known[model] = value


def _refused_limit(body: dict[str, Any], message: str) -> str | None:
    """The name of the refused limit; the old name if both were sent and refused."""
    if _WRONG_VALUE.search(message) or not _UNKNOWN_FIELD.search(message):
        return None
    message = _ADVICE.sub("", message)
    sent = (name for name in (MAX_TOKENS, MAX_COMPLETION_TOKENS) if name in body)
    named = {*re.findall(_LIMIT, message)}
    return next((name for name in sent if name in named), None)
