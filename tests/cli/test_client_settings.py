"""The URL that `chat` and `watch` call, and the key that they send."""

from pathlib import Path

import pytest

from tickertape.cli.chat.client_settings import Server, api_key, make_client
from tickertape.cli.exits import CommandFailed, Exit

pytestmark = pytest.mark.usefixtures("bare")


def test_without_a_key_none_is_sent() -> None:
    assert api_key() is None


def test_the_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTAPE_API_KEY", "k1")
    assert api_key() == "k1"


def test_the_key_is_read_from_the_file_of_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TICKERTAPE_API_KEY=k2\n")
    assert api_key() == "k2"


async def test_the_address_is_a_setting_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTAPE_URL", "https://chat.example/base/")
    async with make_client(Server()) as client:
        assert client.display_url == "https://chat.example/base"


async def test_the_address_on_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKERTAPE_URL", "https://chat.example/base/")
    async with make_client(Server("http://127.0.0.1:9")) as client:
        assert client.display_url == "http://127.0.0.1:9"


def test_a_wrong_address_is_reported_by_the_name_of_the_flag() -> None:
    with pytest.raises(CommandFailed, match="--url is not a URL") as failed:
        make_client(Server("http://["))
    assert failed.value.code == Exit.USAGE
