"""The file of receivers: what it may say, and what the error says if it is wrong."""

from pathlib import Path

import pytest

from tests.support.receiver import SECRET
from tickertape.broker.errors import SettingsInvalid
from tickertape.deliver.events import EVENT_TYPES, Event
from tickertape.deliver.receivers import Receivers
from tickertape.deliver.webhook_file import read

URL = "https://user:passw0rd@hooks.example.com/in"
LEAST: dict[str, object] = {"name": "a", "url": URL, "secret": SECRET}


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else f'"{value}"'


def file_of(path: Path, *rows: dict[str, object]) -> Path:
    tables = ["".join(f"{name} = {toml(value)}\n" for name, value in row.items()) for row in rows]
    path.write_text("".join(f"[[receiver]]\n{table}" for table in tables))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "webhooks.toml"


def event(kind: str = "response.completed") -> Event:
    return Event("evt_1", kind, 1, {})  # type: ignore[arg-type]  # one of the parameters


def test_a_receiver_gets_all_events_of_all_tenants_and_their_users(path: Path) -> None:
    (receiver,) = read(file_of(path, LEAST)).values()
    assert receiver.events == {*EVENT_TYPES}
    assert receiver.gets("any", event())
    assert receiver.gets("any~1234", event())


def test_a_receiver_gets_no_event_of_another_tenant_and_no_other_event(path: Path) -> None:
    row: dict[str, object] = {**LEAST, "tenants": ["acme"], "events": ["response.failed"]}
    (receiver,) = read(file_of(path, row)).values()
    assert receiver.gets("acme", event("response.failed"))
    assert receiver.gets("acme~1234", event("response.failed"))
    assert not receiver.gets("acme", event())
    assert not receiver.gets("other", event("response.failed"))


def test_secrets_may_be_in_a_file_of_their_own(path: Path) -> None:
    (path.parent / "secret").write_text(f"{SECRET}\n{SECRET}\n")
    row: dict[str, object] = {"name": "a", "url": URL, "secret_file": "secret"}
    assert len(read(file_of(path, row))["a"].keys) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a b"}, "receiver 1: name: use 1 to 64"),
        ({"url": "ftp://hooks.example.com"}, "receiver 1: url: use https"),
        ({"url": "http://hooks.example.com"}, "receiver 1: url: use https"),
        ({"url": "https://"}, "receiver 1: url: use https"),
        ({"url": "https://hooks.example.com:99999"}, "receiver 1: url: the address cannot"),
        ({"url": "https://127.0.0.1/in"}, "receiver 1: url: the host is not public"),
        ({"url": "https://2130706433/in"}, "receiver 1: url: the host is not public"),
        ({"url": "https://[::1]/in"}, "receiver 1: url: the host is not public"),
        ({"url": "https://169.254.169.254/latest"}, "receiver 1: url: the host is not public"),
        ({"url": "https://redis.internal"}, "receiver 1: url: the host is not public"),
        ({"secret": "hunter2"}, "receiver 1: secret: write whsec_"),
        ({"secret_file": "x"}, "receiver 1: secret: give secret or secret_file"),
        ({"events": ["response.done"]}, "receiver 1: events: 'response.done' is not one of"),
        ({"events": []}, "receiver 1: events: write a list"),
        ({"tenants": "acme"}, "receiver 1: tenants: write a list"),
        ({"allow_private": "yes"}, "receiver 1: allow_private: write true or false"),
        ({"address": URL}, "receiver 1: address: the fields are"),
    ],
)
def test_a_wrong_field_is_named_with_its_receiver_and_without_secrets(
    path: Path, change: dict[str, object], words: str
) -> None:
    with pytest.raises(SettingsInvalid) as raised:
        read(file_of(path, LEAST | change))
    assert words in str(raised.value)
    assert str(path) in str(raised.value)
    for secret in ("passw0rd", "hunter2", SECRET):
        assert secret not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[receiver]]\nname = a", "line 2"),
        ("", "write one [[receiver]]"),
        ("[receiver]\nname = 'a'", "write one [[receiver]]"),
        ("a = 1", "write one [[receiver]]"),
        ("receiver = [1]", "write one [[receiver]]"),
        (f"a = {'[' * 9999}", "Lists are nested too deeply"),
        (f"a = {'9' * 9999}", "A number has too many digits"),
    ],
)
def test_a_file_that_is_no_list_of_receivers_is_refused(path: Path, text: str, words: str) -> None:
    path.write_text(text)
    with pytest.raises(SettingsInvalid, match=r"TICKERTAPE_WEBHOOKS is") as raised:
        read(path)
    assert words in str(raised.value)


def test_a_missing_file_and_a_name_that_is_used_twice_are_refused(path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        read(path)
    with pytest.raises(SettingsInvalid, match="receiver 2: name: 'a' is used twice"):
        read(file_of(path, LEAST, LEAST))


def test_a_changed_file_is_used_and_a_wrong_one_is_not(path: Path) -> None:
    receivers = Receivers(file_of(path, LEAST))
    file_of(path, LEAST | {"name": "longer"})
    receivers.look()
    assert receivers.named("longer") is not None
    path.write_text("[[receiver")
    receivers.look()
    assert receivers.named("longer") is not None
