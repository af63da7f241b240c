"""What spans say of a call of the upstream: numbers and known words, whatever was sent."""

from typing import Any

import pytest

from tickertape.worker.gen_ai import request_attributes, response_attributes
from tickertape.worker.upstream.ending import Ending
from tickertape.worker.upstream.tally import Tally


def tally_of(reason: str | None, usage: Any) -> Tally:
    tally = Tally()
    tally.ending = Ending()
    tally.ending.reason = reason
    tally.usage = usage
    return tally


def test_usage_is_read_at_every_depth() -> None:
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost": 0.1,
    }
    assert response_attributes(tally_of("length", usage)) == {
        "gen_ai.response.finish_reasons": ["length"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 2,
    }


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": "7", "completion_tokens": True, "prompt_tokens_details": [3]},
        {"prompt_tokens": {"a": "secret"}, "completion_tokens_details": {"reasoning_tokens": None}},
        # One number beyond 64 bits would make the exporter drop the whole batch.
        {"prompt_tokens": 2**63, "completion_tokens": -(2**70)},
    ],
)
def test_a_usage_that_is_no_usage_adds_nothing(usage: Any) -> None:
    assert response_attributes(tally_of(None, usage)) == {}


def test_a_reason_in_the_upstreams_own_words_is_not_passed_on() -> None:
    attributes = response_attributes(tally_of("because of \ud800 your secret", None))
    assert attributes == {"gen_ai.response.finish_reasons": ["other"]}


def test_parameters_of_a_wrong_type_or_beyond_64_bits_are_left_out() -> None:
    body = {
        "seed": 2**70,
        "max_tokens": "9",
        "temperature": True,
        "top_p": [0.5],
        "response_format": {"type": {"secret": 1}},
        "frequency_penalty": 0.5,
    }
    assert request_attributes(body, "mistral", None) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mistral_ai",
        "gen_ai.request.stream": True,
        "gen_ai.request.frequency_penalty": 0.5,
    }


def test_a_format_is_named_by_its_kind_alone() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "secret"}}
    attributes = request_attributes({"response_format": form}, "other", "m")
    assert attributes["gen_ai.output.type"] == "json"
    assert "secret" not in str(attributes)
