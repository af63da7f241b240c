"""Scripts as Redis gets them: all of them, and each with the flag and the prefix it needs."""

from importlib.resources import files

import pytest

from tests.broker.live import live
from tickertape.broker.errors import Unavailable
from tickertape.broker.lua import NAMES, Scripts, source


def test_every_script_file_is_loaded() -> None:
    names = {path.name.removesuffix(".lua") for path in (files("broker") / "scripts").iterdir()}
    assert {name for name in names if not name.startswith("_")} == {*NAMES, "prefix", "rights"}


@pytest.mark.parametrize("name", NAMES)
def test_what_ends_requests_runs_without_memory_and_nothing_else_does(name: str) -> None:
    takes_memory = name in {"submit", "claim", "append", "reopen", "position", "probe"}
    assert source(name).startswith("#!lua flags=allow-oom\n") != takes_memory
    assert not source(name, shebang=False).startswith("#!")


@pytest.mark.parametrize("name", NAMES)
def test_the_hot_path_carries_no_prefix(name: str) -> None:
    is_bare = name in {"append", "renew", "account", "probe"}
    assert ("local function over(" in source(name)) != is_bare


async def test_a_call_that_is_not_answered_is_unavailable() -> None:
    async with live("redis://127.0.0.1:1") as broker:
        with pytest.raises(Unavailable):
            await Scripts(broker.connections.commands).verdict("account", ["k"], 1, "{}")


async def test_a_script_that_breaks_is_our_own_fault(redis_url: str) -> None:
    async with live(redis_url) as broker:
        await broker.connections.ask("SET", "k", "no hash")
        with pytest.raises(Exception, match="WRONGTYPE"):
            await Scripts(broker.connections.commands).verdict("account", ["k"], 1, "{}")
