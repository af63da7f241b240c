"""`tickertape keys`: what it prints, and what it refuses."""

from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("action", "subject", "new", "named"),
    [
        ("add", None, NewKey(), "TENANT"),
        ("revoke", None, NewKey(), "KEY_ID"),
        ("revoke", "none", NewKey(), "there is no key none"),
        ("add", "a b", NewKey(), "a tenant is"),
        ("add", "ada", NewKey(scopes="fly"), "scopes are some of"),
        ("add", "ada", NewKey(expires="soon"), "--expires"),
        ("add", "ada", NewKey(expires="0d"), "--expires"),
    ],
)
def test_a_wrong_call_says_what_to_write(
    action: str, subject: str | None, new: NewKey, named: str
) -> None:
    with pytest.raises(CommandFailed, match=named):
        run(action, subject, new, data_dir=HERE)
