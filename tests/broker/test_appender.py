"""The appender: an answer for each call, in order, once; LOST for every one that is not known."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import hiredis
import pytest

from tests.broker.address import port_of, through
from tests.broker.writer import Writer
from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.proxy import FaultProxy
from tests.support.rig import TENANT, Rig, open_rig
from tests.support.servers import ValkeyServer
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.broker.appender import LOST, Appended, Appender

SETTINGS = GivenSettings(max_output_bytes=1024)


@pytest.fixture
async def broker(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url) as running_broker:
        yield running_broker


@pytest.fixture
async def proxied(redis_url: str) -> AsyncIterator[tuple[FaultProxy, Rig]]:
    """A broker whose every connection can be broken."""
    async with (
        FaultProxy(port_of(redis_url)) as proxy,
        open_rig(through(proxy, redis_url), SETTINGS) as running_broker,
    ):
        yield proxy, running_broker


async def test_many_calls_are_answered_in_their_order_without_waiting(broker: Rig) -> None:
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        leases = [await broker.leased(), await broker.leased()]
        writers = [Writer(appender, lease) for lease in leases]
        for seq in range(1, 101):
            for writer in writers:
                writer.send(seq, str(seq))
        assert [writer.answers for writer in writers] == [[], []]
        assert appender.is_ready
        await wait_until(
            lambda: all(len(writer.answers) == 100 for writer in writers), description="all answers"
        )
        for lease, writer in zip(leases, writers, strict=True):
            assert writer.answers == [Appended("OK", seq) for seq in range(1, 101)]
            assert await broker.texts(lease.request_id) == [str(seq) for seq in range(1, 101)]


async def test_calls_of_one_turn_of_the_loop_are_one_call_of_the_script(broker: Rig) -> None:
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        writers = [Writer(appender, await broker.leased()) for _ in range(70)]
        await broker.connections.ask("CONFIG", "RESETSTAT")
        for writer in writers:
            writer.send(1, "a", "b")
        await wait_until(
            lambda: all(writer.answers for writer in writers), description="all answers"
        )
        assert all(writer.answers == [Appended("OK", 2)] for writer in writers)
        counted = await broker.connections.ask("INFO", "commandstats")
        assert counted["cmdstat_evalsha"]["calls"] == 2, "64 requests, and the other six"


async def test_a_call_that_redis_refuses_as_a_whole_is_sent_again_for_each_request(
    broker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While keys move to another node, a call is refused if one of its keys has left."""
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        writers = [Writer(appender, await broker.leased()) for _ in range(2)]
        line, sent = line_of(appender), []
        monkeypatch.setattr(line._bulk, "send", lambda *command: sent.append(command))
        for writer in writers:
            writer.send(1, "a")
        line._send_all()
        line._on_reply(hiredis.ReplyError("TRYAGAIN Multiple keys request"))
        assert [writer.answers for writer in writers] == [[LOST], [LOST]]
        await appender.ready()
        for writer in writers:
            writer.send(1, "a")
        line._send_all()
        assert [command[2] for command in sent] == [4, 2, 2], "the number of keys"


async def test_every_answer_of_the_script_comes_through(broker: Rig) -> None:
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        lease = await broker.leased()
        writer = Writer(appender, lease)
        assert await writer.append(1, "é", "\x00\r\n") == ("OK", 2)
        assert await writer.append(1, "é", "\x00\r\n") == ("DUP", 2)
        assert await writer.append(4, "z") == ("GAP", 2)
        assert await writer.append(3, "x" * 1024) == ("TOO_LONG", 2)
        await broker.requests.cancel(lease.request_id, TENANT)
        assert await writer.append(3, "z") == ("FENCED", -1)
        assert await broker.texts(lease.request_id) == ["é", "\x00\r\n"]


async def test_a_call_that_redis_rejects_is_refused_and_does_not_affect_others(broker: Rig) -> None:
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        strange, well = await broker.leased(), await broker.leased()
        log_key = KEYS.log(strange.request_id)
        await broker.connections.ask("XADD", log_key, f"{strange.attempt}-5", "e", "dz")
        refused, taken = Writer(appender, strange), Writer(appender, well)
        taken.send(1, "a")
        refused.send(1, "a")
        taken.send(2, "b")
        await wait_until(lambda: len(taken.answers) == 2, description="all answers")
        assert refused.answers == [Appended("REFUSED", -1)]
        assert taken.answers == [Appended("OK", 1), Appended("OK", 2)]


async def test_without_a_connection_every_call_is_lost_but_answered(broker: Rig) -> None:
    appender = Appender(broker.connections, SETTINGS)
    assert not appender.is_ready
    assert await Writer(appender, await broker.leased()).append(1, "a") == LOST


def line_of(appender: Appender) -> Any:
    """The open line of partition 0."""
    return appender._owners.lines[0]


async def test_the_appender_is_not_ready_while_its_connection_is_closing(
    broker: Rig,
) -> None:
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        writer = Writer(appender, await broker.leased())
        line_of(appender)._bulk._transport.close()
        writer.send(1, "a")
        assert not appender.is_ready, "a caller that sends again once it is ready would never stop"
        await appender.ready()
        assert writer.answers == [LOST]
        assert await writer.append(1, "a") == ("OK", 1)


async def test_a_call_whose_answer_was_lost_can_be_sent_again(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    proxy, broker = proxied
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        lease = await broker.leased()
        writer = Writer(appender, lease)
        proxy.lose_reply_to(b"EVALSHA")
        assert await writer.append(1, "a") == LOST
        await appender.ready()
        assert await writer.append(1, "a") == ("DUP", 1)
        assert await broker.texts(lease.request_id) == ["a"]


async def test_all_calls_on_a_broken_connection_are_lost_once(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    proxy, broker = proxied
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        writer = Writer(appender, await broker.leased())
        proxy.is_blackhole = True
        for seq in range(1, 6):
            writer.send(seq, "a")
        proxy.reset_all()
        await wait_until(lambda: len(writer.answers) == 5, description="five answers")
        assert writer.answers == [LOST] * 5
        proxy.is_blackhole = False
        await appender.ready()
        assert await writer.append(1, "a") == ("OK", 1)
        assert len(writer.answers) == 6


@pytest.mark.slow
async def test_a_connection_that_went_dead_without_a_word_is_noticed(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    proxy, broker = proxied
    appender = Appender(broker.connections, SETTINGS, reply_timeout_s=0.2)
    async with running(appender.run()):
        await appender.ready()
        writer = Writer(appender, await broker.leased())
        proxy.is_blackhole = True
        assert await writer.append(1, "a") == LOST
        proxy.is_blackhole = False
        await appender.ready()
        assert await writer.append(1, "a") == ("OK", 1)


async def test_a_server_that_never_answers_the_start_is_left(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    proxy, broker = proxied
    appender = Appender(broker.connections, SETTINGS, reply_timeout_s=0.2)
    lost = proxy.lose_reply_to(b"SCRIPT")
    async with running(appender.run()):
        await appender.ready()
        assert lost.is_set()
        assert await Writer(appender, await broker.leased()).append(1, "a") == ("OK", 1)


async def test_a_connection_that_owes_a_recent_reply_is_not_dead(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    """The silence may have begun long before the call without a reply."""
    proxy, broker = proxied
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        writer, line = Writer(appender, await broker.leased()), line_of(appender)
        assert line._bulk._may_be_silent()
        assert line._bulk._may_be_silent()
        proxy.delay_s = 0.05
        writer.send(1, "a")
        await asyncio.sleep(0)  # calls leave at the end of a turn
        assert line._bulk._may_be_silent(), "it was just sent"
        await wait_until(lambda: writer.answers, description="the answer")
        writer.send(2, "b")
        await asyncio.sleep(0)
        assert line._bulk._may_be_silent(), "the one before was answered"
        assert not line._bulk._may_be_silent(), "nothing came in a whole period"
        await wait_until(lambda: len(writer.answers) == 2, description="the answer")


async def test_a_server_that_forgot_the_script_gets_it_again(broker: Rig) -> None:
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        writer = Writer(appender, await broker.leased())
        await broker.connections.ask("SCRIPT", "FLUSH")
        writer.send(1, "a")
        assert await writer.append(1, "a") == LOST
        assert writer.answers == [LOST, LOST]
        await appender.ready()
        assert await writer.append(1, "a") == ("OK", 1)


async def test_a_server_without_memory_loses_calls_until_it_has_some(broker: Rig) -> None:
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        writer = Writer(appender, await broker.leased())
        await broker.connections.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            assert await writer.append(1, "a") == LOST
            begun_s = time.monotonic()
            for _ in range(4):
                await appender.ready()
                assert await writer.append(1, "a") == LOST
            # Each connection is as good as new until the first append.
            assert time.monotonic() - begun_s >= (0.1 + 0.2 + 0.4) / 2, "no storm of connections"
        finally:
            await broker.connections.ask("CONFIG", "SET", "maxmemory", "0")
        await appender.ready()
        assert await writer.append(1, "a") == ("OK", 1)


async def test_a_server_that_was_killed_and_came_back_is_written_to_again(
    own_redis: ValkeyServer,
) -> None:
    async with open_rig(own_redis.url) as broker:
        appender = Appender(broker.connections, SETTINGS)
        async with running(appender.run()):
            # Otherwise, while a sync is under way, Redis acknowledges what it has not written yet.
            await broker.connections.ask("CONFIG", "SET", "appendfsync", "always")
            await appender.ready()
            lease = await broker.leased()
            writer = Writer(appender, lease)
            assert await writer.append(1, "a") == ("OK", 1)
            own_redis.kill()
            assert await writer.append(2, "b") == LOST
            own_redis.start()
            await appender.ready()
            answer = await writer.append(1, "a", "b")
            assert answer == ("OK", 2)
            assert await broker.texts(lease.request_id) == ["a", "b"]


async def test_an_account_that_may_not_load_scripts_waits_until_it_may(broker: Rig) -> None:
    ask = broker.connections.ask
    await ask("ACL", "SETUSER", "poor", "on", ">pw", "~*", "&*", "+@all", "-script|load")
    address = f"redis://poor:pw@127.0.0.1:{port_of(broker.connections._url)}"
    try:
        async with open_rig(address) as poor:
            appender = Appender(poor.connections, SETTINGS)
            async with running(appender.run()):

                async def was_refused() -> bool:
                    return bool(await ask("ACL", "LOG"))

                await wait_until(was_refused, description="the refusal in the server's log")
                writer = Writer(appender, await broker.leased())
                assert await writer.append(1, "a") == LOST
                await ask("ACL", "SETUSER", "poor", "+script|load")
                await appender.ready()
                assert await writer.append(1, "a") == ("OK", 1)
    finally:
        await ask("ACL", "DELUSER", "poor")
        await ask("ACL", "LOG", "RESET")


async def test_calls_under_way_when_the_appender_ends_are_lost(
    proxied: tuple[FaultProxy, Rig],
) -> None:
    proxy, broker = proxied
    appender = Appender(broker.connections, SETTINGS)
    async with running(appender.run()):
        await appender.ready()
        writer = Writer(appender, await broker.leased())
        proxy.delay_s = 1
        writer.send(1, "a")
    assert writer.answers == [LOST]
    assert await writer.append(1, "a") == LOST
