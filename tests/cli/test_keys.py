"""`tickertape keys`: what it prints, what it refuses, and what it leaves in the audit log."""

import getpass
import json
from pathlib import Path

import pytest

from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.exits import CommandFailed
from tickertape.cli.inspect.keys import NewKey, run
from tickertape.runtime import api_key

HERE = Path()


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)


def test_a_key_is_printed_once_listed_without_it_and_revoked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    new = NewKey(scopes="read+list", models="small", expires="90d", name="phone of Ada")
    assert run("add", "ada", new, data_dir=HERE) == 0
    printed = capsys.readouterr()
    key = printed.out.strip()
    assert api_key.is_key(key)
    assert "only once" in printed.err
    assert key not in printed.err
    run("list", None, NewKey(), data_dir=HERE)
    line = capsys.readouterr().out
    assert key not in line
    for part in ("ada", "read+list", "models small", "expires", "never used", "phone of Ada"):
        assert part in line
    key_id = line.split()[0]
    assert run("revoke", key_id, NewKey(), data_dir=HERE) == 0
    capsys.readouterr()
    run("list", None, NewKey(), data_dir=HERE)
    assert capsys.readouterr().out == "No keys.\n"


def test_a_new_key_does_not_show_the_numbers_of_other_tenants(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run("add", "ada", NewKey(), data_dir=HERE)
    capsys.readouterr()
    run("list", None, NewKey(), data_dir=HERE)
    assert "submit+read+cancel+erase+list" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("action", "subject", "new", "named"),
    [
        ("add", None, NewKey(), "TENANT"),
        ("revoke", None, NewKey(), "KEY_ID"),
        ("revoke", "none", NewKey(), "there is no key none"),
        ("add", "a b", NewKey(), "a tenant is"),
        ("add", "ada", NewKey(scopes="fly"), "scopes are some of"),
        ("add", "ada", NewKey(models=""), "--models"),
        ("add", "ada", NewKey(models="+"), "--models"),
        ("add", "ada", NewKey(expires="soon"), "--expires"),
        ("add", "ada", NewKey(expires="0d"), "--expires"),
    ],
)
def test_a_wrong_call_says_what_to_write(
    action: str, subject: str | None, new: NewKey, named: str
) -> None:
    with pytest.raises(CommandFailed, match=named):
        run(action, subject, new, data_dir=HERE)


def test_a_key_that_an_operator_makes_lists_or_revokes_leaves_a_line_without_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    monkeypatch.setenv("TICKERTAPE_AUDIT_LOG", str(log))
    run("add", "ada", NewKey(), data_dir=HERE)
    key = capsys.readouterr().out.strip()
    run("list", None, NewKey(), data_dir=HERE)
    key_id = capsys.readouterr().out.split()[0]
    run("revoke", key_id, NewKey(), data_dir=HERE)
    with pytest.raises(CommandFailed):
        run("revoke", "none", NewKey(), data_dir=HERE)
    assert key not in log.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["method"], line["object"], line["outcome"]) for line in lines] == [
        ("keys add", f"/keys/{key_id}", 200),
        ("keys list", "/keys", 200),
        ("keys revoke", f"/keys/{key_id}", 200),
        ("keys revoke", "/keys/none", 404),
    ]
    assert lines[0]["tenant"] == "ada"
    for line in lines:
        who = (line["action"], line["address"], line["user"])
        assert who == ("admin", "local", getpass.getuser())


def test_no_key_is_made_if_its_line_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("TICKERTAPE_AUDIT_LOG", str(tmp_path / "none" / "audit.log"))
    with pytest.raises(SettingsInvalid, match="TICKERTAPE_AUDIT_LOG"):
        run("add", "ada", NewKey(), data_dir=HERE)
    monkeypatch.delenv("TICKERTAPE_AUDIT_LOG")
    run("list", None, NewKey(), data_dir=HERE)
    assert capsys.readouterr().out == "No keys.\n"


def test_the_audit_line_of_a_new_key_does_not_stand_beside_the_key_in_the_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TICKERTAPE_AUDIT_LOG", "-")
    run("add", "ada", NewKey(), data_dir=HERE)
    printed = capsys.readouterr()
    assert api_key.is_key(printed.out.strip())
    assert json.loads(printed.err.splitlines()[-1])["method"] == "keys add"
