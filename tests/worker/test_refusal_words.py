"""A refused call reads rightly to the person who asked: whose key, whose account, whose model."""

import pytest

from tickertape.worker.upstream.error_reports import error_from, read_report
from tickertape.worker.upstream.errors import Rejected

KEY = "The server's key for its model provider was refused."
CREDIT = "The server's account at its model provider has no credit left."
NOT_PERMITTED = "The server's key for its model provider does not permit this request."
MODEL = "The server's model provider does not offer the requested model."
ADDRESS = "The server's model provider has nothing at the address that this server calls."

OPENAI_KEY = "Incorrect API key provided: […]. You can find your API key at platform.openai.com."
GEMINI_KEY = "API key not valid. Please pass a valid API key."
QUOTA = "You exceeded your current quota, please check your plan and billing details."
REGION = "Country, region, or territory not supported"
NO_MODEL = "The model `gpt-9` does not exist or you do not have access to it."


@pytest.mark.parametrize(
    ("status", "code", "said", "begins", "concerns_all"),
    [
        (401, "invalid_api_key", OPENAI_KEY, KEY, True),
        (401, None, "", KEY, True),
        (400, "INVALID_ARGUMENT", GEMINI_KEY, KEY, True),
        (403, None, "Invalid API key", KEY, True),
        (400, "authentication_error", "invalid x-api-key", KEY, True),
        (429, "insufficient_quota", QUOTA, CREDIT, True),
        (402, None, "Insufficient Balance", CREDIT, True),
        (403, "permission_error", REGION, NOT_PERMITTED, False),
        (404, "model_not_found", NO_MODEL, MODEL, False),
        (404, None, "", ADDRESS, True),
        (404, None, "404 page not found", ADDRESS, True),
        (405, None, "Method Not Allowed", ADDRESS, True),
        (400, None, "max_tokens is too large", "max_tokens is too large", False),
        (422, None, "messages: field required", "messages: field required", False),
        (400, None, "The token budget is invalid", "The token budget is invalid", False),
    ],
)
def test_a_refusal_names_whose_mistake_it_is(
    status: int, code: str | None, said: str, begins: str, concerns_all: bool
) -> None:
    error = error_from(
        read_report({"error": {"message": said, "code": code}}), status=status, message=said
    )
    assert type(error) is Rejected
    assert error.message.startswith(begins)
    assert error.problem == (begins if concerns_all else None)
    if begins.startswith("The server's"):
        assert "OPENAI_" in error.message or "Whoever runs this server" in error.message


def test_a_refused_key_is_never_called_the_callers_key() -> None:
    error = error_from(
        read_report({"error": {"message": OPENAI_KEY}}), status=401, message=OPENAI_KEY
    )
    assert "your" not in error.message.lower()


def test_other_words_of_the_provider_are_marked_as_its_own() -> None:
    error = error_from(read_report({"error": {"message": REGION}}), status=403, message=REGION)
    assert error.message.endswith(f"The provider says: {REGION}")
