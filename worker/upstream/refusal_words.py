"""Pure: what a refused call of the upstream means to the person who asked.

Providers write to the owner of the key, for example "You exceeded your current quota". Here that
owner is whoever runs this server. The person who asked often has a key of this server too, and
would look for the mistake there.
"""

import re
from dataclasses import dataclass

from tickertape.runtime.upstream_words import KEY_REFUSED
from tickertape.worker.upstream.inner_names import speaks_of_account, without_inner_names

OUT_OF_CREDIT = 402
_OPERATOR = "Whoever runs this server"
_NO_CREDIT = "The server's account at its model provider has no credit left."
_NOT_PERMITTED = "The server's key for its model provider does not permit this request."
_NO_MODEL = "The server's model provider does not offer the requested model."
_NOT_FOUND = "The server's model provider has nothing at the address that this server calls."
_REDIRECTED = "The server's model provider redirects to another address."
_ACCOUNT = "The server's model provider refused the request for a reason that concerns the server."

# Gemini and others answer 400 or 403 to a wrong key.
_KEY = r"\b(?:api|access)[ _-]?(?:key|token)\b"
_ABOUT_KEY = re.compile(
    rf"{_KEY}.{{0,40}}\b(?:invalid|incorrect|expired|not valid|not found|missing)"
    rf"|\b(?:invalid|incorrect|expired|missing)\b.{{0,20}}{_KEY}",
    re.IGNORECASE,
)
_ABOUT_MODEL = re.compile(r"\b(?:model|deployment)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """`text` is for the person who asked.

    `problem` is the sentence of it that concerns every request to this upstream, for the status
    page; None if only this request is refused.
    """

    text: str
    problem: str | None = None


def explain_refusal(status: int, words: int | None, reason: str) -> Refusal:
    """The refusal for an HTTP status and the status that the error's code stands for.

    `reason` is the provider's text without secrets and without the prompt. What that text says
    about the operator's account, and names of its network, are left out; they are in the log.
    """
    if 300 <= status < 400:
        # The prompt would be sent to wherever the upstream points.
        do = f"Redirects are not followed. {_OPERATOR} has to set OPENAI_BASE_URL to that address."
        return Refusal(_joined(_REDIRECTED, do), _REDIRECTED)
    if status == 401 or words == 401 or (status in {400, 403} and _ABOUT_KEY.search(reason)):
        # The provider's text is left out, because it speaks of "your API key".
        do = f"{_OPERATOR} has to correct OPENAI_API_KEY and restart the workers."
        return Refusal(_joined(KEY_REFUSED, do), KEY_REFUSED)
    if OUT_OF_CREDIT in {status, words}:
        do = f"{_OPERATOR} has to check its plan and billing there."
        return Refusal(_joined(_NO_CREDIT, do), _NO_CREDIT)
    shown = without_inner_names(reason)
    if status == 403:
        do = f"{_OPERATOR} can check what the key may use."
        return Refusal(_joined(_NOT_PERMITTED, do, shown))
    if status == 404 and _ABOUT_MODEL.search(reason):
        do = f"Choose another one. {_OPERATOR} sets the default with OPENAI_MODEL."
        return Refusal(_joined(_NO_MODEL, do, shown))
    if status in {404, 405}:
        do = f"{_OPERATOR} has to check OPENAI_BASE_URL, which mostly ends with /v1."
        return Refusal(_joined(_NOT_FOUND, do, shown), _NOT_FOUND)
    if speaks_of_account(reason):
        do = f"{_OPERATOR} finds it in the log of the workers."
        return Refusal(_joined(_ACCOUNT, do, shown))
    return Refusal(shown or f"The upstream answered {status}.")


def _joined(problem: str, do: str, reason: str = "") -> str:
    return f"{problem} {do}" + (f" The provider says: {reason}" if reason else "")
