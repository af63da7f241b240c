"""A wrong setting stops the start and says what to write; a right one is read from its place."""

from pathlib import Path

import pytest

from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.environment import load_settings, old_names_in_use, variable_names
from tickertape.runtime.settings import Settings


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of this machine and no `.env` file of this folder."""
    for name in variable_names():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def refusal() -> str:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_nothing_has_to_be_set() -> None:
    settings = load_settings()
    assert (settings.redis_url, settings.openai_api_key, settings.api_keys) == (None, None, None)
    assert (settings.lease_ms, settings.partitions, settings.origins) == (5000, 1, ())


def test_variables_are_named_as_documented() -> None:
    assert variable_names()[:4] == [
        "REDIS_URL",
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "OPENAI_MODEL",
    ]
    assert all(name.startswith("TICKERTAPE_") for name in variable_names()[4:])
    assert len(variable_names()) == len(Settings.model_fields)


def test_a_variable_wins_over_the_env_file_and_the_file_over_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        "TICKERTAPE_LEASE_S=7\nTICKERTAPE_STALL_S=8\nSOMETHING_ELSE=9\nOPENAI_MODEL=é\n", "utf-8"
    )
    monkeypatch.setenv("TICKERTAPE_LEASE_S", "2.5")
    settings = load_settings()
    assert (settings.lease_ms, settings.stall_s, settings.openai_model) == (2500, 8, "é")


@pytest.mark.parametrize("is_in_file", [True, False])
def test_the_limit_of_crashes_is_read_under_its_old_name_and_the_old_name_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, is_in_file: bool
) -> None:
    monkeypatch.delenv("TICKERTAPE_MAX_ATTEMPTS", raising=False)
    assert old_names_in_use() == {}
    if is_in_file:
        (tmp_path / ".env").write_text("TICKERTAPE_MAX_ATTEMPTS=7\n", "utf-8")
    else:
        monkeypatch.setenv("TICKERTAPE_MAX_ATTEMPTS", "7")
    assert load_settings().max_crashes == 7
    assert old_names_in_use() == {"TICKERTAPE_MAX_ATTEMPTS": "TICKERTAPE_MAX_CRASHES"}
    monkeypatch.setenv("TICKERTAPE_MAX_CRASHES", "8")
    assert load_settings().max_crashes == 8


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTAPE_LEASE_S", "")
    monkeypatch.setenv("REDIS_URL", "")
    assert (load_settings().lease_s, load_settings().redis_url) == (5, None)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("TICKERTAPE_PARTITIONS", "0", "greater than or equal to 1"),
        ("TICKERTAPE_PARTITIONS", "1025", "less than or equal to 1024"),
        ("TICKERTAPE_NAMESPACE", "{a}", "a-z, 0-9, - and _"),
        ("TICKERTAPE_LEASE_S", "soon", "valid number"),
        ("TICKERTAPE_LEASE_S", "nan", "less than or equal to 300"),
        ("TICKERTAPE_FIRST_BYTE_S", "0", "greater than 0"),
        ("TICKERTAPE_DEADLINE_S", "inf", "less than or equal to 86400"),
        ("TICKERTAPE_QUEUE_LIMIT", "1.5", "valid integer"),
        ("TICKERTAPE_URL", "ftp://127.0.0.1", "http://... or https://..."),
        ("OPENAI_BASE_URL", "127.0.0.1:8080/v1", "http://... or https://..."),
    ],
)
def test_the_error_of_a_wrong_value_has_its_name_the_value_and_the_allowed_values(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    line = refusal()
    assert line.startswith(f"{name} is {value!r}: ")
    assert allowed in line
    assert "\n" not in line


def test_all_wrong_values_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTAPE_PARTITIONS", "none")
    monkeypatch.setenv("TICKERTAPE_STALL_S", "-1")
    names = [line.split()[0] for line in refusal().splitlines()]
    assert sorted(names) == ["TICKERTAPE_PARTITIONS", "TICKERTAPE_STALL_S"]


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://u:sesame@127.0.0.1", "redis://host:port, rediss://host:port, unix:///path"),
        ("sesame", "redis://host:port, rediss://host:port, unix:///path"),
        ("redis+cluster://u:sesame@a:1,b:2/3", "a cluster has one database"),
        ("redis+cluster://u:sesame@a:1,:2", "host:port, with commas"),
        ("redis+cluster://u:ses/ame@a:1,b:2", "percent-encode"),
        ("redis+sentinel://:sesame@a:1", "name the primary after the Sentinels"),
        ("redis+sentinel://:sesame@a:1/main/x", "the database after the name is a number"),
        ("redis+sentinel://:sesame@a:1,b:sesame/main", "a port is not valid"),
        ("rediss+sentinel://:sesame@a,,b/main", "give each Sentinel as host:port"),
        ("redis+sentinel://a/main?sentinel_username=sesame", "give sentinel_password"),
        ("redis://:ses/ame@127.0.0.1:6379", "percent-encode"),
        ("redis://:sesame@127.0.0.1:sesame", "percent-encode"),
    ],
)
def test_an_address_of_redis_that_cannot_work_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, url: str, allowed: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    line = refusal()
    assert line.startswith("REDIS_URL is (hidden): ")
    assert allowed in line
    assert "ses" not in line


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "rediss://:p@h:1/2",
        "unix:///run/redis.sock?db=1",
        "redis+sentinel://me:p@a:1,b,[::1]:3/main/2?sentinel_password=q",
    ],
)
def test_an_address_that_can_work_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert load_settings().redis_url == url


def test_a_password_in_the_upstream_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "htp://me:sesame@upstream/v1")
    assert refusal() == "OPENAI_BASE_URL is (hidden): use http://... or https://..."


def test_secrets_do_not_show_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    monkeypatch.setenv("TICKERTAPE_API_KEYS", "a:sesame")
    monkeypatch.setenv("REDIS_URL", "redis://:sesame@127.0.0.1")
    settings = load_settings()
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "sesame"
    assert "sesame" not in repr(settings)


def test_addresses_lose_their_last_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.example/v1/")
    monkeypatch.setenv("TICKERTAPE_URL", "http://127.0.0.1:9/")
    settings = load_settings()
    assert (settings.openai_base_url, settings.url) == (
        "https://api.example/v1",
        "http://127.0.0.1:9",
    )


def test_origins_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTAPE_CORS_ORIGINS", "http://a, https://b ,,")
    assert load_settings().origins == ("http://a", "https://b")


def test_an_unknown_profile_stops_the_start_with_the_names_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TICKERTAPE_UPSTREAM_PROFILE", "vlm")
    assert "TICKERTAPE_UPSTREAM_PROFILE is 'vlm'" in refusal()
    assert "'vllm', 'llama.cpp'" in refusal()
    monkeypatch.setenv("TICKERTAPE_UPSTREAM_PROFILE", "vllm")
    assert load_settings().upstream_profile == "vllm"
