"""What `doctor` says about the receivers of webhooks and about the database of the history."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.given_settings import GivenSettings
from tests.support.receiver import SECRET
from tickertape.cli.checks import of_history, of_webhooks
from tickertape.history.store import History


@pytest.mark.parametrize(
    ("address", "more", "case"),
    [
        ("10.0.0.7", "", "webhooks-private"),
        ("10.0.0.7", "allow_private = true", "webhooks-receivers"),
        ("93.184.216.34", "", "webhooks-receivers"),
    ],
)
async def test_a_receiver_whose_public_name_leads_inside_the_network_is_found(
    tmp_path: Path, address: str, more: str, case: str
) -> None:
    path = tmp_path / "webhooks.toml"
    row = '[[receiver]]\nname = "one"\nurl = "https://user:passw0rd@a.example/in"\n'
    path.write_text(f'{row}secret = "{SECRET}"\n{more}\n')

    async def look_up(host: str) -> list[str]:
        assert host == "a.example"
        return [address]

    (found,) = await of_webhooks.findings(GivenSettings(webhooks=path), look_up=look_up)
    assert found.case == case
    assert "passw0rd" not in str(found)


async def test_a_history_is_looked_at_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    url = SecretStr(f"sqlite:///{path}")
    settings = GivenSettings(history_url=url)
    (new,) = await of_history.findings(settings)
    assert "will get its tables" in new.text
    assert not path.exists()
    history = History(url.get_secret_value())
    await history.check()
    (made,) = await of_history.findings(settings)
    assert "has the tables of version 1" in made.text
    assert not await history.find("t", "~tried")
    await history.aclose()
