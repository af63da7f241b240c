"""The push connection: each channel is acknowledged, again after each break; silence is noticed."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from redis.asyncio import Connection, Redis

from tests.broker.address import port_of, through
from tests.support.keyspace import KEYS
from tests.support.proxy import FaultProxy
from tests.support.rig import Rig, open_rig
from tests.support.servers import ValkeyServer
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.broker import push as module
from tickertape.broker.cluster import Node
from tickertape.broker.codec import Cursor, Pushed, unpack
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.broker.push import Push


class Heard:
    """A listener that keeps what it received."""

    def __init__(self) -> None:
        self.subscribed: list[bytes] = []
        self.pushed: list[tuple[bytes, bytes]] = []

    def on_subscribed(self, channel: bytes) -> None:
        self.subscribed.append(channel)

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        self.pushed.append((channel, message))

    async def acknowledged(self, channel: bytes, times: int = 1) -> None:
        await wait_until(
            lambda: self.subscribed.count(channel) >= times,
            description=f"acknowledgement {times} of {channel!r}",
        )

    async def pushes(self, count: int) -> list[tuple[bytes, bytes]]:
        await wait_until(lambda: len(self.pushed) >= count, description=f"{count} pushes")
        return self.pushed


@pytest.fixture
async def broker(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url) as running_broker:
        yield running_broker


async def publish(broker: Rig, channel: str, message: str) -> int:
    return int(await broker.connections.ask("SPUBLISH", channel, message))


async def test_entries_of_a_watched_log_arrive_after_the_acknowledgement(broker: Rig) -> None:
    heard = Heard()
    push = Push(broker.connections, heard)
    async with running(push.run()):
        request_id = await broker.submit()
        channel = KEYS.log_channel(request_id).encode()
        push.subscribe(channel)
        await heard.acknowledged(channel)
        assert push.is_up
        lease = await broker.claim_lease()
        [(on, message)] = await heard.pushes(1)
        pushed = unpack(message)
        assert isinstance(pushed, Pushed)
        assert (on, pushed.first) == (channel, Cursor(lease.attempt, 0))
    assert not push.is_up


async def test_channels_wanted_before_there_is_a_connection_are_subscribed(broker: Rig) -> None:
    heard = Heard()
    push = Push(broker.connections, heard)
    assert not push.is_up
    push.subscribe(b"{p0}:a")
    async with running(push.run()):
        await heard.acknowledged(b"{p0}:a")


async def test_an_unsubscribed_channel_is_silent(broker: Rig) -> None:
    heard = Heard()
    push = Push(broker.connections, heard)
    push.subscribe(b"{p0}:a")
    push.subscribe(b"{p0}:b")
    async with running(push.run()):
        await heard.acknowledged(b"{p0}:b")
        push.unsubscribe(b"{p0}:a")
        push.subscribe(b"{p0}:c")
        push.unsubscribe(b"{p0}:c")
        push.subscribe(b"{p0}:d")
        await heard.acknowledged(b"{p0}:d")
        assert await publish(broker, "{p0}:a", "x") == 0
        assert await publish(broker, "{p0}:b", "y") == 1
        assert await heard.pushes(1) == [(b"{p0}:b", b"y")]
        assert b"{p0}:c" not in heard.subscribed


def opened_by(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """The connections that are opened from now on for one task alone."""
    opened: list[Connection] = []
    unpooled = connections.unpooled

    def open_one(node: Node | None = None) -> Connection:
        opened.append(unpooled(node))
        return opened[-1]

    monkeypatch.setattr(connections, "unpooled", open_one)
    return opened


async def test_after_a_break_every_channel_is_acknowledged_again(
    broker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, opened = Heard(), opened_by(broker.connections, monkeypatch)
    push = Push(broker.connections, heard)
    channels = [b"{p0}:%d" % number for number in range(2 * module._CHANNELS_PER_COMMAND + 1)]
    async with running(push.run()):
        for channel in channels:
            push.subscribe(channel)
        for channel in channels:
            await heard.acknowledged(channel)
        push.unsubscribe(channels[0])
        await broker.connections.ask("CLIENT", "KILL", "TYPE", "pubsub")
        for channel in channels[1:]:
            await heard.acknowledged(channel, times=2)
        assert heard.subscribed.count(channels[0]) == 1
        assert len(opened) == 2
        assert await publish(broker, channels[-1].decode(), "x") == 1
        await heard.pushes(1)


async def test_a_server_that_was_restarted_is_listened_to_again(own_redis: ValkeyServer) -> None:
    async with open_rig(own_redis.url) as broker:
        heard = Heard()
        push = Push(broker.connections, heard)
        push.subscribe(b"{p0}:a")
        async with running(push.run()):
            await heard.acknowledged(b"{p0}:a")
            own_redis.kill()
            await wait_until(lambda: not push.is_up, description="the break")
            own_redis.start()
            await heard.acknowledged(b"{p0}:a", times=2)
            await publish(broker, "{p0}:a", "x")
            assert await heard.pushes(1) == [(b"{p0}:a", b"x")]


@pytest.mark.slow
async def test_a_quiet_connection_is_kept_and_a_dead_one_is_left(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings = 0
    original = module._PushLine._ping

    def count(line: module._PushLine) -> bool:
        nonlocal pings
        pings += 1
        return original(line)

    monkeypatch.setattr(module._PushLine, "_ping", count)
    async with (
        FaultProxy(port_of(redis_url)) as proxy,
        open_rig(through(proxy, redis_url)) as broker,
    ):
        heard, opened = Heard(), opened_by(broker.connections, monkeypatch)
        push = Push(broker.connections, heard, ping_every_s=0.05)
        async with running(push.run()):
            await wait_until(lambda: pings >= 4, description="pings before any subscription")
            push.subscribe(b"{p0}:a")
            await heard.acknowledged(b"{p0}:a")
            pings = 0
            await wait_until(lambda: pings >= 4, description="pings on a subscribed connection")
            assert len(opened) == 1
            proxy.is_blackhole = True
            await wait_until(lambda: len(opened) > 1, description="the dead connection is left")
            proxy.is_blackhole = False
            await heard.acknowledged(b"{p0}:a", times=2)


async def test_an_account_that_may_not_listen_tries_until_it_may(
    broker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = broker.connections.ask
    await ask("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "resetchannels", "+@all")
    try:
        async with open_rig(f"redis://deaf:pw@127.0.0.1:{port_of(broker.url)}") as deaf:
            heard, opened = Heard(), opened_by(deaf.connections, monkeypatch)
            push = Push(deaf.connections, heard)
            push.subscribe(b"{p0}:a")
            async with running(push.run()):
                begun_s = time.monotonic()
                await wait_until(lambda: len(opened) == 6, description="refusals")
                assert time.monotonic() - begun_s >= 0.05 + 0.1 + 0.2 + 0.4, "no storm"
                assert heard.subscribed == []
                await ask("ACL", "SETUSER", "deaf", "&*")
                await heard.acknowledged(b"{p0}:a")
    finally:
        await ask("ACL", "DELUSER", "deaf")


async def test_a_push_connection_leaves_a_server_that_was_demoted(own_redis: ValkeyServer) -> None:
    """A replica answers its subscribers with no error, and so the connection asks for the role."""
    async with open_rig(own_redis.url) as broker, aclosing(Redis.from_url(own_redis.url)) as other:
        heard = Heard()
        push = Push(broker.connections, heard, ping_every_s=0.1)
        push.subscribe(b"{p0}:push:a")
        async with running(push.run()):
            await heard.acknowledged(b"{p0}:push:a")
            await other.replicaof("127.0.0.1", "1")
            await wait_until(lambda: not push.is_up, description="the connection to be left")
            await other.replicaof("NO", "ONE")
            await heard.acknowledged(b"{p0}:push:a", 2)
            await wait_until(lambda: push.is_up, description="the connection to be up")


async def test_a_push_connection_asks_for_the_role_as_soon_as_another_one_is_refused(
    own_redis: ValkeyServer,
) -> None:
    async with open_rig(own_redis.url) as broker, aclosing(Redis.from_url(own_redis.url)) as other:
        heard = Heard()
        push = Push(broker.connections, heard, ping_every_s=60)
        push.subscribe(b"{p0}:push:a")
        async with running(push.run()):
            await heard.acknowledged(b"{p0}:push:a")
            await other.replicaof("127.0.0.1", "1")
            with pytest.raises(Unavailable):
                await broker.submit()
            await wait_until(lambda: not push.is_up, description="the connection to be left")
