"""The variables that children get, and the commands that `up` prints."""

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from tickertape.cli.up.console import Usage, how_to_use
from tickertape.cli.up.environment import (
    ModelAddress,
    drain_environment,
    model_environment,
    needs_model,
    needs_redis,
    redis_environment,
    slots_per_worker,
    url_of,
)
from tickertape.runtime.settings import Settings

pytestmark = pytest.mark.usefixtures("bare")

MODEL = ModelAddress("http://127.0.0.1:5000/v1", "key", "small")


def test_no_server_is_started_if_one_is_set() -> None:
    assert not needs_redis(Settings(redis_url="redis://elsewhere"))
    assert not needs_model(Settings(openai_api_key=SecretStr("sk-x")))
    assert not needs_model(Settings(openai_base_url="http://elsewhere/v1"))


def test_redis_and_the_model_are_started_unless_they_are_set() -> None:
    assert needs_redis(Settings(redis_url=None))
    assert needs_model(Settings(openai_model="only-a-name"))


def test_functions_need_no_model_beside_them_unless_a_file_is_named() -> None:
    assert not needs_model(Settings(), has_functions=True)
    assert needs_model(Settings(local_model=Path("x.gguf")), has_functions=True)


def test_the_embedded_server_s_file_loses_erased_texts_unless_that_was_turned_off() -> None:
    assert redis_environment("redis://here", Settings()) == {
        "REDIS_URL": "redis://here",
        "TICKERTAPE_REWRITE_AOF_S": "60",
    }
    assert "TICKERTAPE_REWRITE_AOF_S" not in redis_environment("x", Settings(rewrite_aof_s=0))


def test_a_person_at_a_terminal_waits_seconds_unless_a_longer_drain_is_set() -> None:
    assert drain_environment(Settings()) == {
        "TICKERTAPE_DRAIN_S": "5",
        "TICKERTAPE_DRAIN_DELAY_S": "0",
    }
    set_by_user = Settings(drain_s=300, drain_delay_s=1)
    assert drain_environment(set_by_user)["TICKERTAPE_DRAIN_S"] == "300"


def test_the_local_model_gets_time_to_read_a_long_prompt() -> None:
    assert float(model_environment(MODEL, Settings())["TICKERTAPE_FIRST_BYTE_S"]) >= 900


def test_a_first_byte_limit_that_was_set_is_kept() -> None:
    assert "TICKERTAPE_FIRST_BYTE_S" not in model_environment(MODEL, Settings(first_byte_s=7))


def test_the_local_model_is_what_requests_get_by_default() -> None:
    of_another = Settings(openai_model="of-another-upstream", upstream_profile="mistral")
    environment = model_environment(MODEL, of_another)
    assert environment["OPENAI_MODEL"] == "small"
    assert environment["TICKERTAPE_UPSTREAM_PROFILE"] == "llama.cpp"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("localhost", "http://localhost:8000"),
    ],
)
def test_an_address_to_listen_on_becomes_one_to_call(host: str, expected: str) -> None:
    assert url_of(host, 8000) == expected


def test_no_worker_waits_inside_the_model() -> None:
    assert [slots_per_worker(4, workers) for workers in (1, 2, 3, 8)] == [4, 2, 1, 1]


def test_the_lines_to_copy_are_valid_for_a_shell() -> None:
    for has_keys in (False, True):
        text = how_to_use(
            Usage(
                "http://[::1]:9000",
                "'my venv/bin/tickertape'",
                needs_key=has_keys,
                has_proxy=has_keys,
                has_url=has_keys,
                model="it's" if has_keys else None,
            )
        )
        commands = [line.split(maxsplit=1)[1] for line in text.splitlines()]
        for command in commands[1:]:
            subprocess.run(["sh", "-n", "-c", command], check=True)
            assert shlex.split(command)
        assert ("Authorization" in text) is has_keys
        assert (
            text.count("curl -s --noproxy '*'") == text.count("curl -N --noproxy '*'") == has_keys
        )


def test_the_address_that_commands_use_anyway_needs_no_variable() -> None:
    assert "TICKERTAPE_URL" not in how_to_use(Usage("http://127.0.0.1:8000"))
    assert "TICKERTAPE_URL=http://127.0.0.1:9000 tickertape" in how_to_use(
        Usage("http://127.0.0.1:9000", has_url=False)
    )


def test_a_model_is_named_where_the_upstream_has_no_default_one() -> None:
    text = how_to_use(Usage("http://127.0.0.1:8000", model="m-1"))
    assert """-d '{"message": "Write a haiku", "model": "m-1"}'""" in text
    assert "tickertape chat -m m-1 'Write a haiku'" in text


def test_a_key_that_the_shell_does_not_have_is_asked_for() -> None:
    usage = Usage("http://127.0.0.1:8000", needs_key=True, has_key=False)
    assert "export TICKERTAPE_API_KEY=" in how_to_use(usage)
    assert "export" not in how_to_use(replace(usage, has_key=True))


def test_a_model_file_is_used_even_if_an_upstream_is_set() -> None:
    assert needs_model(Settings(local_model=Path("m.gguf"), openai_api_key=SecretStr("sk-x")))
