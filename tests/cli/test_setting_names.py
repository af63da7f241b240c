"""Variables that look like settings and are not, which used to leave servers open."""

from pathlib import Path

import pytest

from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.main import main
from tickertape.runtime.setting_names import check_names

pytestmark = pytest.mark.usefixtures("bare")


def test_a_misspelt_setting_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TICKERTAPE_LEASE", "7")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    for command in (["api"], ["worker"], ["up"]):
        assert main(command) == 2
        assert "TICKERTAPE_LEASE is not a setting: did you mean" in capsys.readouterr().err


def test_a_misspelt_setting_in_the_env_file_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("TICKERTAPE_API_KEYZ=one:secret\n", "utf-8")
    with pytest.raises(SettingsInvalid) as refused:
        check_names()
    assert str(refused.value) == (
        "TICKERTAPE_API_KEYZ is not a setting: did you mean TICKERTAPE_API_KEYS?"
    )


def test_the_key_of_a_client_does_not_leave_a_server_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTAPE_API_KEY", "secret")
    with pytest.raises(SettingsInvalid, match=r"did you mean TICKERTAPE_API_KEYS\?") as refused:
        check_names(has_keys=False)
    assert "secret" not in str(refused.value)
    check_names(has_keys=True)
    check_names()


def test_what_kubernetes_and_the_tests_set_is_not_taken_for_a_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "TICKERTAPE_SERVICE_HOST": "10.0.0.1",
        "TICKERTAPE_API_SERVICE_PORT": "8000",
        "TICKERTAPE_API_SERVICE_PORT_HTTP": "8000",
        "TICKERTAPE_PORT": "tcp://10.0.0.1:8000",
        "TICKERTAPE_PORT_8000_TCP_ADDR": "10.0.0.1",
        "TICKERTAPE_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "TICKERTAPE_LOCAL_MODEL_KEY": "x",
        "TICKERTAPE_MAX_ATTEMPTS": "3",
        "TICKERTAPE_NOTHING": "",
    }.items():
        monkeypatch.setenv(name, value)
    check_names(has_keys=False)
