"""Secrets are read from the files that Docker, Kubernetes and systemd mount them as."""

from pathlib import Path

import pytest

from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.chat.client_settings import api_key
from tickertape.cli.main import main
from tickertape.cli.up.child import ChildProcess
from tickertape.cli.up.processes import environment_of
from tickertape.runtime.environment import load_settings
from tickertape.runtime.secret_files import NAMES, file_variable_names
from tickertape.runtime.setting_names import check_names
from tickertape.runtime.settings import Settings

pytestmark = pytest.mark.usefixtures("bare")


@pytest.fixture(autouse=True)
def no_file_is_set(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, *file_variable_names()):
        monkeypatch.delenv(name, raising=False)


def refusal() -> str:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    return str(caught.value)


def test_every_secret_is_read_from_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    contents = {
        "REDIS_URL": "redis://:pässword@valkey:6379/0",
        "OPENAI_BASE_URL": "https://name:password@upstream.example/v1",
        "OPENAI_API_KEY": "sk-upstream",
        "TICKERTAPE_KEY_SECRET": "a-secret-of-the-keys",
        "TICKERTAPE_TICKET_SECRET": "a-secret-of-the-tickets",
    }
    for name, secret in contents.items():
        (tmp_path / name).write_text(f"{secret}\n", "utf-8")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    settings = load_settings()
    secrets = settings.openai_api_key, settings.key_secret, settings.ticket_secret
    assert [settings.redis_url, settings.openai_base_url] == [*contents.values()][:2]
    assert [secret and secret.get_secret_value() for secret in secrets] == [*contents.values()][2:]
    check_names(has_keys=True)


def test_a_file_may_be_named_in_the_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("redis://valkey", "utf-8")
    (tmp_path / ".env").write_text(f"REDIS_URL_FILE={tmp_path}/secret\n", "utf-8")
    assert load_settings().redis_url == "redis://valkey"


def test_the_file_of_keys_is_read_again_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTAPE_API_KEYS_FILE", "/run/secrets/keys")
    keys = load_settings().api_keys
    assert keys is not None
    assert keys.get_secret_value() == "@/run/secrets/keys"


def test_the_key_of_a_client_is_read_from_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("k1\n", "utf-8")
    monkeypatch.setenv("TICKERTAPE_API_KEY_FILE", str(tmp_path / "key"))
    assert api_key() == "k1"


def test_a_file_that_cannot_be_used_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").write_text("\n", "utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, reason in {
        "missing": "the file cannot be read: No such file or directory",
        ".": "the file cannot be read: Is a directory",
        "empty": "the file is empty",
        "binary": "the file is not UTF-8 text",
    }.items():
        path = str(tmp_path / name)
        monkeypatch.setenv("REDIS_URL_FILE", path)
        assert main(["worker"]) == 2
        assert capsys.readouterr().err == (
            f"tickertape: REDIS_URL_FILE is {path!r}: {reason}. Name a file that holds the secret\n"
        )


def test_two_values_of_a_secret_stop_the_start_and_neither_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("sk-in-the-file", "utf-8")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-in-the-variable")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "missing"))
    both, missing = sorted(refusal().splitlines())
    assert both == "OPENAI_API_KEY and OPENAI_API_KEY_FILE are both set: unset one of them"
    assert missing.startswith("REDIS_URL_FILE is ")
    # An empty variable is not set, which compose files make use of.
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.delenv("REDIS_URL_FILE")
    key = load_settings().openai_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-in-the-file"


def test_a_wrong_value_in_a_file_is_reported_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("too-short", "utf-8")
    monkeypatch.setenv("TICKERTAPE_KEY_SECRET_FILE", str(tmp_path / "secret"))
    assert refusal().startswith("TICKERTAPE_KEY_SECRET is (hidden): ")
    assert "too-short" not in refusal()


def test_the_local_model_s_key_counts_although_a_file_has_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("sk-of-another-upstream", "utf-8")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "secret"))
    worker = ChildProcess("worker-1", [], tmp_path / "log", ready_event="working")
    services = {"OPENAI_API_KEY": "of-the-local-model"}
    for name, value in environment_of(worker, services, settings=Settings()).items():
        monkeypatch.setenv(name, value)
    key = load_settings().openai_api_key
    assert key is not None
    assert key.get_secret_value() == "of-the-local-model"
