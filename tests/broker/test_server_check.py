"""What a process asks a server before anything else."""

import pytest

from tests.support.accounts import ALL, limited_account
from tests.support.servers import valkey_server
from tickertape.broker.connections import Connections
from tickertape.broker.errors import SettingsInvalid


async def check(url: str) -> None:
    connections = Connections(url)
    try:
        await connections.check_server()
    finally:
        await connections.aclose()


async def test_a_server_without_the_commands_of_redis_7_is_refused_in_one_line() -> None:
    renamed = {"rename-command": 'SPUBLISH ""\nrename-command SSUBSCRIBE ""'}
    with valkey_server(settings=renamed) as server, pytest.raises(SettingsInvalid) as refused:
        await check(server.url)
    assert " has no SPUBLISH and no SSUBSCRIBE: use Redis 7.0 or newer" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("denied", ["-command|info", "-command", "-hello"])
async def test_an_account_that_may_not_ask_for_commands_passes(redis_url: str, denied: str) -> None:
    with limited_account(redis_url, *ALL, denied) as account:
        await check(account.url)
