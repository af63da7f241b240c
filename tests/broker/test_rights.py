"""Rights: a missing right is named at the start, and never stops a script half-way."""

import re
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.support.accounts import (
    ALL,
    ASKED,
    CHANNELS,
    KEYS,
    RIGHTS,
    channels_but,
    limited_account,
    rights_in,
)
from tests.support.given_settings import GivenSettings
from tests.support.rig import TENANT, Rig, open_rig
from tests.support.servers import valkey_server
from tickertape.broker.codec import encode_data
from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, BrokerError
from tickertape.broker.lua import source
from tickertape.broker.redis_errors import reply_text
from tickertape.broker.rights import Rights

# The account of docs/architecture.md.
DOCUMENTED = (Path("docs") / "architecture.md").read_text("utf-8")

# The rights of the check itself: an account without one of these cannot even check.
WITHOUT_WHICH_NOBODY_ASKS = ("evalsha",)
# Used by `doctor`, at the start, after a fail-over and after erasures. All continue without them.
OPTIONAL = {"INFO", "HELLO", "BGREWRITEAOF"}


def commands_of_scripts() -> Iterator[str]:
    for path in (files("broker") / "scripts").iterdir():
        if path.name not in {"rights.lua", "probe.lua"}:
            text = path.read_text("utf-8")
            names = re.findall(r"call\('([A-Z]+)'|'([LR]PUSH)'", text)
            yield from (name for pair in names for name in pair if name and name not in OPTIONAL)


def plain_commands() -> Iterator[str]:
    for folder in ("broker", "api", "worker", "cli"):
        for path in Path(folder).rglob("*.py"):
            text = path.read_text("utf-8")
            yield from re.findall(r"\b(?:ask|ask_small|block|_?send)\(\s*b?\"([A-Z]+)\"", text)
            yield from re.findall(r"\(\s*b?\"([A-Z]+)\", keys\.", text)


def test_every_command_of_a_script_is_asked_about_before_the_script_changes_anything() -> None:
    """Add a new one to RIGHTS in broker/scripts/rights.lua."""
    rights = source("submit").partition("local function refusals")[0]
    assert set(commands_of_scripts()) == {command for command, *_ in rights_in(rights)}


def test_every_command_that_is_called_by_itself_is_asked_about() -> None:
    """Add a new one to PLAIN in broker/scripts/probe.lua."""
    assert set(plain_commands()) - OPTIONAL - {*ASKED, "SCRIPT"} == set()
    assert {"EXISTS", "SSUBSCRIBE", "XRANGE", "HGETALL"} <= set(plain_commands())


async def test_no_command_is_asked_about_with_fewer_arguments_than_it_takes(redis_url: str) -> None:
    """`redis.acl_check_cmd('SET')` in a script ends a Valkey 9.1.2 with a signal."""
    connections = Connections(redis_url)
    for command, _, following in RIGHTS:
        (about,) = (await connections.ask("COMMAND", "INFO", command)).values()
        assert abs(about["arity"]) <= 2 + int(following)
    await connections.aclose()


async def missing(url: str, partitions: int = 1) -> list[str]:
    connections = Connections(url, partitions=partitions)
    try:
        return await Rights(connections).missing()
    finally:
        await connections.aclose()


async def denial(url: str) -> str:
    connections = Connections(url)
    try:
        with pytest.raises(AccessDenied) as caught:
            await Rights(connections).check()
    finally:
        await connections.aclose()
    return str(caught.value)


async def test_an_account_that_may_do_all_misses_nothing(redis_url: str) -> None:
    assert await missing(redis_url, partitions=12) == []
    with Redis.from_url(redis_url) as client:
        assert client.keys() == []


async def test_the_account_that_the_docs_describe_misses_nothing(redis_url: str) -> None:
    described = re.search(r"ACL SETUSER \w+ on >\S+ ([^`]+)`", DOCUMENTED)
    assert described is not None
    with limited_account(redis_url, *described[1].split()) as account:
        assert await missing(account.url, partitions=12) == []


@pytest.mark.parametrize("command", ASKED)
async def test_a_command_that_an_account_may_not_run_is_named(redis_url: str, command: str) -> None:
    with limited_account(redis_url, *ALL, f"-{command}") as account:
        if command.lower() in WITHOUT_WHICH_NOBODY_ASKS:
            assert command.lower() in await denial(account.url)
        else:
            named = await missing(account.url)
            # Redis does not say what it minds about a command that no script may run.
            assert {refusal.partition(" on ")[0] for refusal in named} == {command}
            assert named == [command] or "SUBSCRIBE" in command
            expected = f"Redis denies access: this account may not run {', '.join(named)}"
            assert await denial(account.url) == expected


async def test_scripts_that_may_not_be_loaded_are_named(redis_url: str) -> None:
    with limited_account(redis_url, *ALL) as account:
        assert await missing(account.url) == []
        account.allow(*ALL, "-script|load")
        assert await missing(account.url) == ["SCRIPT LOAD"]


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_channel_that_an_account_may_not_use_is_named(redis_url: str, channel: str) -> None:
    with limited_account(redis_url, "~*", *channels_but(channel), "+@all") as account:
        named = await missing(account.url)
        assert f"SPUBLISH on {{p0}}:{channel}*" in named
        assert f"SSUBSCRIBE on {{p0}}:{channel}*" in named


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_that_an_account_may_not_touch_is_named(redis_url: str, key: str) -> None:
    # The name of a key that is not the first part of others ends without a colon.
    allowed = [
        f"~{{p0}}:{other}*" if other.endswith(":") else f"~{{p0}}:{other}"
        for other in {*KEYS} - {key}
    ]
    for readable in (False, True):
        rules = [*allowed, f"%R~{{p0}}:{key}*"] if readable else allowed
        with limited_account(redis_url, *rules, "&*", "+@all") as account:
            named = await missing(account.url)
        assert named
        assert all(f" on {{p0}}:{key}*" in refusal for refusal in named)


async def test_a_pattern_that_leaves_out_a_partition_is_named(redis_url: str) -> None:
    with limited_account(redis_url, "~{p?}:*", "&{p?}:*", "+@all") as account:
        assert await missing(account.url, partitions=10) == []
        assert "XADD on {p10}:log:*" in await missing(account.url, partitions=11)


@pytest.mark.parametrize("command", ["XADD", "SPUBLISH", "XLEN"])
async def test_a_command_that_was_renamed_is_named(command: str) -> None:
    with valkey_server(settings={"rename-command": f'{command} ""'}) as server:
        assert await missing(server.url) == [f"{command} (unknown to this server)"]


async def test_scripts_on_a_server_where_they_were_renamed_are_named() -> None:
    with valkey_server(settings={"rename-command": 'EVALSHA ""'}) as server:
        expected = await denial(server.url)
    assert expected == "Redis denies access: unknown command 'EVALSHA'"


async def test_many_rights_are_named_in_a_line_of_bounded_length(redis_url: str) -> None:
    with limited_account(redis_url, "~*", "&*", "+evalsha", "+script", "+ping") as account:
        assert (await denial(account.url)).count(", ") == 7
        assert re.search(r" and \d+ more$", await denial(account.url))


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ("limited:wrong@", "invalid username-password pair"),
        ("nobody:sesame@", "invalid username-password pair"),
        (":wrong@", "invalid username-password pair"),
        ("", "Authentication required"),
    ],
)
async def test_a_login_that_redis_refuses_is_named(
    redis_url: str, login: str, expected: str
) -> None:
    with limited_account(redis_url, *ALL) as account:
        address = account.url.rpartition("@")[2]
        refusal = await denial(f"redis://{login}{address}")
    assert refusal.startswith("Redis refuses the login: ")
    assert expected in refusal
    assert "wrong" not in refusal


async def test_a_database_that_redis_has_not_or_does_not_let_us_use_is_named(
    redis_url: str,
) -> None:
    assert await denial(f"{redis_url.rpartition('/')[0]}/999") == (
        "Redis denies access: DB index is out of range"
    )
    with limited_account(redis_url, *ALL, "-select") as account:
        assert "'select'" in await denial(f"{account.url.rpartition('/')[0]}/1")


async def test_an_account_that_was_disabled_is_named(redis_url: str) -> None:
    with limited_account(redis_url, *ALL, "off") as account:
        assert "user is disabled" in await denial(account.url)


def stored(redis_url: str) -> dict[bytes, bytes | None]:
    with Redis.from_url(redis_url) as client:
        return {key: client.dump(key) for key in client.scan_iter()}


async def every_verb(redis_url: str, all_may: Rig, broker: Rig) -> list[BrokerError | None]:
    """The error of each verb of `broker`, on data of `all_may`; no verb may change anything."""
    held = await all_may.leased(conversation_id="c", idempotency_key="i")
    done = await all_may.leased(tenant="t3")
    end = [encode_data("completed", {})]
    await all_may.queue.finish(done, "completed", 1, end)
    queued = await all_may.submit("t2", conversation_id="c2")
    before = stored(redis_url)
    verbs: list[Callable[[], Awaitable[object]]] = [
        partial(broker.submit, conversation_id="c", on_busy="replace", idempotency_key="j"),
        broker.submit,
        partial(broker.queue.claim, 0, "n"),
        partial(broker.queue.reopen, held, "n2", "r"),
        partial(broker.queue.retry, held, 1000, "r"),
        partial(broker.queue.release, held),
        partial(broker.queue.finish, held, "completed", 1, end, answered="a"),
        partial(broker.requests.cancel, queued, "t2"),
        partial(broker.requests.erase, done.request_id, "t3"),
        partial(broker.requests.position, queued, "t2"),
    ]
    met: list[BrokerError | None] = []
    for verb in verbs:
        try:
            await verb()
            met.append(None)
        except BrokerError as error:
            met.append(error)
    assert stored(redis_url) == before
    return met


@pytest.mark.parametrize("command", sorted({*commands_of_scripts()}))
async def test_a_right_that_is_missing_in_the_middle_of_a_script_changes_nothing(
    redis_url: str, command: str
) -> None:
    with limited_account(redis_url, *ALL, f"-{command}") as account:
        async with open_rig(redis_url) as all_may, open_rig(account.url) as broker:
            met = await every_verb(redis_url, all_may, broker)
    # A verb that reads first is refused in the words of Redis, in lower case.
    assert all(type(error) is AccessDenied and command in str(error).upper() for error in met), met


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_channel_that_is_missing_in_the_middle_of_a_script_changes_nothing(
    redis_url: str, channel: str
) -> None:
    with limited_account(redis_url, "~*", *channels_but(channel), "+@all") as account:
        async with open_rig(redis_url) as all_may, open_rig(account.url) as broker:
            met = await every_verb(redis_url, all_may, broker)
    assert all(type(error) is AccessDenied and "SPUBLISH" in str(error) for error in met)


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("XRANGE", lambda broker: broker.logs.read("r0_" + "a" * 26)),
        ("XREVRANGE", lambda broker: broker.logs.tails(["r0_" + "a" * 26])),
        ("HMGET", lambda broker: broker.requests.get("r0_" + "a" * 26, TENANT)),
        ("GET", lambda broker: broker.connections.agree_on_partitions(1)),
    ],
)
async def test_a_plain_command_that_is_denied_raises_access_denied(
    redis_url: str, command: str, call: object
) -> None:
    assert callable(call)
    with limited_account(redis_url, *ALL, f"-{command}") as account:
        async with open_rig(account.url, GivenSettings()) as broker:
            with pytest.raises(AccessDenied, match=command.lower()):
                await call(broker)


def test_what_a_server_quotes_of_a_call_is_not_shown() -> None:
    quoting = "unknown command 'XADD', with args beginning with: 'k' 'my secret prompt'"
    assert reply_text(ResponseError(quoting)) == "unknown command 'XADD'"
    assert reply_text(ValueError("my secret prompt")) is None
