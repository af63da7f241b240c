"""Pure: reads an upstream's report of a failure, and chooses the error for it.

The same code reads the bodies of HTTP errors and the errors inside a stream, so that a refusal
means the same in both. Servers disagree on every name: OpenAI's `error` object may be text, nested,
listed, flat, or JSON within a text.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tickertape.worker.upstream.errors import RateLimited, Rejected, UpstreamError, UpstreamFault
from tickertape.worker.upstream.refusal_words import OUT_OF_CREDIT, explain_refusal
from tickertape.worker.upstream.surrogates import without_orphans

_MAX_DEPTH = 8
_MAX_PROBLEMS = 20
# A page of text. Some servers quote the whole request, and a search in 20 MB stops all answers.
_MAX_MESSAGE_CHARS = 10_000

# In these fields, a number counts if it is an HTTP status of 400 or more, and a known word counts.
_CODE_KEYS = (
    "code", "error_code", "errorCode", "Code", "status", "status_code", "statusCode",
    "type", "error_type", "errorType", "__type", "error",
)  # fmt: skip
_TEXT_KEYS = (
    "message", "Message", "msg", "error_message", "errorMessage", "error_msg", "status_msg",
    "error_description", "detail", "errors", "base_resp", "title", "error",
)  # fmt: skip
# An object without choices that has one of these fields is an error.
_ERROR_KEYS = (
    "error", "errors", "error_code", "errorCode", "error_message", "errorMessage", "error_msg",
    "error_type", "errorType", "detail", "Message",
)  # fmt: skip
# An object with none of these fields is an error only if its `object` says so.
_OF_ERRORS = frozenset({*_ERROR_KEYS, *_CODE_KEYS, "message", "msg", "base_resp"})
_FINE = frozenset({"", "0", "200", "ok", "success"})

# The words of OpenAI, Anthropic, Google, Azure, AWS, Alibaba, Moonshot, Groq, llama.cpp and their
# gateways, in the form that `_plain` returns, by the HTTP status that they stand for. 402 means an
# empty account, so that another try is useless.
_WORDS_BY_STATUS = {
    400: "invalidrequest badrequest invalidargument invalidparameter invalidvalue invalidprompt"
    " invalidtype invalidinput failedprecondition outofrange validation missingrequiredparameter"
    " unsupportedparameter unsupportedvalue unknownparameter contextlengthexceeded"
    " contextwindowexceeded exceedcontextsize stringabovemaxlength integerabovemaxvalue"
    " integerbelowminvalue contentfilter contentfiltered contentpolicyviolation"
    " responsibleaipolicyviolation datainspectionfailed toolusefailed jsonvalidatefailed"
    " invalidimage invalidimageurl invalidimageformat modelnotsupported",
    401: "authentication unauthorized unauthenticated invalidapikey invalidauthentication"
    " incorrectapikey invalidauthorization missingapikey accountdeactivated",
    402: "insufficientquota billinghardlimitreached billing paymentrequired insufficientbalance"
    " insufficientcredits insufficientfunds exceededcurrentquota arrearage",
    403: "permission permissiondenied forbidden accessdenied",
    404: "notfound modelnotfound resourcenotfound unknownmodel deploymentnotfound",
    408: "requesttimeout",
    409: "conflict",
    413: "requesttoolarge payloadtoolarge",
    422: "unprocessableentity",
    429: "ratelimit ratelimited ratelimitexceeded ratelimitreached ratelimiterror toomanyrequests"
    " resourceexhausted throttling throttled throttlingratequota throttlingallocationquota"
    " limitrequests limitburstrate engineoverloaded requestlimitexceeded",
    500: "server internalserver internal api apiconnection unknown dataloss modelerror",
    501: "notimplemented notsupported",
    502: "badgateway",
    503: "serviceunavailable unavailable modeloverloaded serverisoverloaded slowdown",
    504: "timeout gatewaytimeout deadlineexceeded",
    529: "overloaded",
}
_STATUSES = {word: status for status, words in _WORDS_BY_STATUS.items() for word in words.split()}
# https://platform.minimax.io/docs/api-reference/errorcode
_MINIMAX_STATUSES = {
    1002: 429, 1004: 401, 1008: 402, 1026: 400, 1027: 400, 1039: 429, 1041: 429, 1042: 400,
    2013: 400, 2049: 401,
}  # fmt: skip
_TRANSIENT_4XX = frozenset({408, 425})
_MAX_WAIT_S = 1e9
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*s?\s*")


@dataclass(frozen=True, slots=True)
class Report:
    """An upstream's report of a failure.

    `message` may quote keys and prompts. `status` is the HTTP status in the report, and
    `word_status` is the status that its error codes stand for.
    """

    message: str = ""
    status: int | None = None
    word_status: int | None = None
    retry_after_s: float | None = None


def read_report(report: object) -> Report:
    """The report in the body of an HTTP error, or in an error inside a stream."""
    layers = list(_layers(report))
    return Report(
        without_orphans(message_of(report)[:_MAX_MESSAGE_CHARS]),
        next((status for layer in layers if (status := _status_in(layer))), None),
        next((status for layer in layers if (status := _word_status_in(layer))), None),
        next((wait_s for layer in layers if (wait_s := _retry_after_in(layer)) is not None), None),
    )


def is_error(value: dict[str, Any]) -> bool:
    """Whether an object without choices is an error.

    An object with only a text is not an error, because gateways report their progress like that.
    """
    if value.get("object") != "error" and _OF_ERRORS.isdisjoint(value):
        return False
    if any(value.get(key) for key in _ERROR_KEYS) or "error" in (
        value.get("object"),
        value.get("type"),
    ):
        return True
    code = str(value.get("code") or "").lower()
    if _status_in(value) or _plain(code) in _STATUSES:
        return True
    has_text = any(isinstance(value.get(key), str) for key in ("message", "msg"))
    return has_text and (code not in _FINE or _word_status_in(value) is not None)


def error_from(
    report: Report,
    *,
    status: int | None = None,
    message: str = "",
    retry_after_s: float | None = None,
) -> UpstreamError:
    """The error for a report; `status` is the HTTP status of the response, if it had one.

    `message`, without secrets, is shown for a 4xx only, because a caller cannot act on any other
    message. The error says so when a 4xx is about this server's key, account or address. 408 and
    425 are the only 4xx that are worth another try. `retry_after_s` comes from the headers, and
    replaces the value in the report.
    """
    status = status or report.status or report.word_status
    wait_s = report.retry_after_s if retry_after_s is None else retry_after_s
    if status is None:
        fault = "The upstream reported an error in its stream."
        return UpstreamFault(fault, retry_after_s=wait_s)
    if status == 429 and report.word_status != OUT_OF_CREDIT:
        return RateLimited(retry_after_s=wait_s)
    if status >= 500 or status in _TRANSIENT_4XX:
        return UpstreamFault(f"The upstream answered {status}.", retry_after_s=wait_s)
    refusal = explain_refusal(status, report.word_status, message)
    return Rejected(refusal.text, problem=refusal.problem)


def message_of(report: object, depth: int = 0) -> str:
    """The text of an error for people, from wherever the error has it; "" without a text."""
    if depth > _MAX_DEPTH:
        return ""
    match report:
        case str(text):
            inner = _nested(text)
            return _readable(text) if inner is None else message_of(inner, depth + 1)
        case {"loc": list(path), "msg": str(message)}:
            # FastAPI's form. Its other fields quote the request.
            return f"{'.'.join(map(str, path))}: {message}"
        case list(problems):
            messages = (message_of(problem, depth + 1) for problem in problems[:_MAX_PROBLEMS])
            return "; ".join(filter(None, messages))
        case dict(error):
            return _message_in(error, depth + 1)
    return ""


def _message_in(error: dict[str, Any], depth: int) -> str:
    # A text in `error` often only names a class of errors. An object there is the error itself.
    keys = _TEXT_KEYS if isinstance(error.get("error"), str) else ("error", *_TEXT_KEYS[:-1])
    messages = (message_of(error.get(key), depth) for key in keys)
    message = next(filter(None, messages), "")
    # OpenRouter writes "Provider returned error"; the provider's own text is in these fields.
    more = message_of(_raw(error), depth) or _by_field(error.get("errors"), depth)
    return ": ".join(filter(None, (message, more if more not in message else "")))


def _by_field(errors: object, depth: int) -> str:
    """ASP.NET names the field of each problem: `{"messages": ["The field is required."]}`."""
    if not isinstance(errors, dict):
        return ""
    fields = islice(errors.items(), _MAX_PROBLEMS)
    messages = {field: message_of(problems, depth) for field, problems in fields}
    return "; ".join(f"{field}: {message}" for field, message in messages.items() if message)


def _readable(text: str) -> str:
    return "" if text.lstrip().startswith("<") else text  # the HTML page of a proxy


def _nested(text: str) -> Any:
    """The object or list in a text that is JSON, as gateways pass on errors of upstreams."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _raw(error: dict[str, Any]) -> object:
    metadata = error.get("metadata")
    return metadata.get("raw") if isinstance(metadata, dict) else None


def _layers(report: object, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The objects that may have the error's code, outer ones first."""
    if depth > _MAX_DEPTH:
        return
    match report:
        case str(text):
            yield from _layers(_nested(text), depth + 1)
        case list(items):
            for item in items[:_MAX_PROBLEMS]:
                yield from _layers(item, depth + 1)
        case dict(error):
            yield error
            for key in ("error", "errors", "message", "detail", "details", "base_resp"):
                yield from _layers(error.get(key), depth + 1)
            yield from _layers(_raw(error), depth + 1)


def _status_in(layer: dict[str, Any]) -> int | None:
    numbers = (_whole(layer.get(key)) for key in _CODE_KEYS)
    status = next((number for number in numbers if number and 400 <= number < 600), None)
    base = layer.get("base_resp")
    if status is None and isinstance(base, dict) and (code := _whole(base.get("status_code"))):
        return _MINIMAX_STATUSES.get(code, 500)
    return status


def _word_status_in(layer: dict[str, Any]) -> int | None:
    words = (_plain(value) for key in _CODE_KEYS if isinstance(value := layer.get(key), str))
    return next((_STATUSES[word] for word in words if word in _STATUSES), None)


def _plain(word: str) -> str:
    """One form for `invalid_request_error`, `InvalidRequestError` and `INVALID_REQUEST`."""
    letters = "".join(filter(str.isalnum, word[:100])).lower()
    return letters.removesuffix("error").removesuffix("exception")


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _retry_after_in(layer: dict[str, Any]) -> float | None:
    """The pause in Google's RetryInfo, or in fields of OpenRouter and others."""
    metadata = layer.get("metadata")
    for fields in (layer, metadata if isinstance(metadata, dict) else {}):
        for key in ("retryDelay", "retry_after", "retry_after_seconds"):
            match fields.get(key):
                case bool():
                    continue
                case int() | float() as seconds if abs(seconds) < _MAX_WAIT_S:
                    return max(0.0, float(seconds))
                case str(text) if (duration := _DURATION.fullmatch(text)) and len(text) < 40:
                    return float(duration[1])
    return None
