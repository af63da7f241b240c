"""What `up` prints about its upstream."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.given_settings import GivenSettings
from tickertape.cli.up.upstream_state import (
    LISTED,
    NOT_LISTED,
    UpstreamState,
    upstream_state,
    with_functions,
)

URL = "https://ai.example/v1"


def state(event: str, *, model: str | None = "m", key: str | None = None, **record: Any) -> str:
    found = full_state(event, model=model, key=key, **record)
    return found.problem or found.advice


def full_state(
    event: str,
    *,
    model: str | None = "m",
    key: str | None = None,
    url: str = URL,
    is_local: bool = False,
    **record: Any,
) -> UpstreamState:
    settings = GivenSettings(
        openai_base_url=url,
        openai_model=model,
        openai_api_key=SecretStr(key) if key else None,
    )
    return upstream_state({"event": event, **record}, settings, is_local=is_local)


def test_an_upstream_that_lists_the_default_model_needs_no_words() -> None:
    assert full_state(LISTED, models=["m"], count=1, lists_default=True) == UpstreamState()
    assert full_state(LISTED, model=None, models=["a"], is_local=True) == UpstreamState()


def test_a_missing_default_model_is_named_with_those_that_are_offered() -> None:
    found = full_state(LISTED, model=None, models=["a", "b"], count=7)
    assert found.problem == ""
    assert found.advice == (
        "OPENAI_MODEL is not set, so each request must name a model."
        " The upstream offers a, b and 5 more."
    )
    assert (found.example_model, found.can_ask) == ("a", True)


def test_an_upstream_without_models_cannot_be_asked_without_one() -> None:
    found = full_state(LISTED, model=None, models=[], count=0)
    assert found.can_ask is False
    assert "lists no models" in found.advice


def test_an_unknown_default_model_is_named() -> None:
    assert (
        state(LISTED, models=["a"], count=1, lists_default=False)
        == "OPENAI_MODEL is m, which the upstream does not list. The upstream offers a."
    )


@pytest.mark.parametrize(
    ("key", "url", "words"),
    [
        ("sk-secret", URL, "refuses the key (401). Set OPENAI_API_KEY to a key of that server."),
        (None, URL, "needs a key (401). Set OPENAI_API_KEY"),
        (None, "https://ada:pw@ai.example/v1", "refuses the account in OPENAI_BASE_URL (401)."),
    ],
)
def test_a_refused_key_is_named_and_not_shown(key: str | None, url: str, words: str) -> None:
    found = full_state(NOT_LISTED, key=key, url=url, status=401, code="upstream_rejected")
    assert found.problem.startswith(f"The upstream at {URL} {words}")
    assert "secret" not in found.problem


def test_a_key_that_is_refused_with_another_status_is_named_too() -> None:
    reason = "The server's key was refused. Whoever runs this server has to correct OPENAI_API_KEY."
    found = full_state(
        NOT_LISTED, key="sk", status=400, code="upstream_rejected", reason=reason
    ).problem
    assert "refuses the key (400)" in found


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"code": "upstream_unreachable"}, "cannot be reached. Start that server, or correct"),
        ({"code": "upstream_stalled"}, "does not answer in time"),
        ({"code": "upstream_error", "reason": "Not JSON."}, "does not answer as OpenAI's API"),
        ({"code": "upstream_error", "status": 500, "reason": "It answered 500."}, "answered 500."),
        ({"code": "upstream_error", "has_no_list": True, "has_chat": False}, "OPENAI_BASE_URL"),
    ],
)
def test_an_upstream_that_does_not_answer_is_named_with_a_remedy(
    record: dict[str, Any], words: str
) -> None:
    assert words in full_state(NOT_LISTED, **record).problem


def test_an_upstream_without_a_list_answers_and_only_the_model_is_in_doubt() -> None:
    known = full_state(NOT_LISTED, code="upstream_error", has_no_list=True, has_chat=True)
    assert (known.problem, known.can_ask) == ("", True)
    assert "m was not checked" in known.advice
    unknown = full_state(NOT_LISTED, model=None, has_no_list=True, has_chat=True)
    assert (unknown.problem, unknown.can_ask) == ("", False)


def test_the_commands_ask_a_function_in_place_of_a_model_of_the_upstream() -> None:
    listed = full_state(LISTED, model=None, models=["a", "b"], count=2)
    beside = with_functions(listed, ("shop", "other"), None)
    assert (beside.example_model, beside.can_ask) == ("shop", True)
    assert "each request must name a model" in beside.advice
    unlisted = full_state(NOT_LISTED, model=None, has_no_list=True, has_chat=True)
    assert with_functions(unlisted, ("shop",), None).can_ask


def test_a_function_that_is_the_default_model_needs_no_list_of_the_upstream() -> None:
    found = full_state(LISTED, model="shop", models=["a"], lists_default=False)
    assert with_functions(found, ("other", "shop"), "shop") == UpstreamState()


def test_functions_do_not_hide_that_the_upstream_cannot_answer() -> None:
    away = full_state(NOT_LISTED, code="upstream_unreachable")
    assert with_functions(away, ("shop",), None) == away


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"code": "upstream_unreachable"}, "Start that server, or correct its base_url."),
        ({"status": 401}, "refuses its key (401). Correct its key_env or its key_file."),
        ({"has_chat": False}, "Check the path of its base_url"),
    ],
)
def test_what_is_wrong_with_a_table_is_corrected_in_the_table(
    record: dict[str, Any], words: str
) -> None:
    settings = GivenSettings(upstreams=Path("two.toml"))
    found = upstream_state({"event": NOT_LISTED, **record}, settings, is_local=False)
    assert found.problem.startswith("The first upstream of two.toml ")
    assert words in found.problem
    assert "OPENAI_" not in found.problem
