"""The bulk connection: redis-py keeps its streams where we find them; a break is reported."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import hiredis
import pytest
import uvloop

from tests.broker.address import port_of, through
from tests.support.proxy import FaultProxy
from tests.support.wait import wait_until
from tickertape.broker.bulk import BulkConnection
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable


class Replies(list[Any]):
    def run(self, bulk: BulkConnection, silence_s: float = 60) -> "asyncio.Task[None]":
        return asyncio.create_task(bulk.run(silence_s=silence_s, on_silence=lambda: False))


@pytest.fixture
async def connections(redis_url: str) -> AsyncIterator[Connections]:
    opened = Connections(redis_url)
    yield opened
    await opened.aclose()


@asynccontextmanager
async def bulk_to(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    connections: Connections,
) -> AsyncIterator[BulkConnection]:
    """A connection to a server that is no Redis."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        bulk = BulkConnection(connections.unpooled(), print)
        bulk._loop, bulk._transport = asyncio.get_running_loop(), writer.transport
        writer.transport.set_protocol(bulk)
        yield bulk
        writer.close()
        await bulk.close()


async def test_redis_py_keeps_its_streams_where_they_are_looked_for(
    connections: Connections,
) -> None:
    connection = connections.unpooled()
    await connection.connect()  # type: ignore[no-untyped-call]  # bare in redis-py
    assert isinstance(connection._reader, asyncio.StreamReader)
    assert isinstance(connection._writer, asyncio.StreamWriter)
    assert not connection._reader._buffer, "redis-py left bytes that the parser would miss"  # type: ignore[attr-defined]  # private
    await connection.disconnect()


async def test_commands_are_written_without_waiting_and_answered_in_order(
    connections: Connections,
) -> None:
    replies = Replies()
    bulk = BulkConnection(connections.unpooled(), replies.append)
    was_open = bulk.is_open
    await bulk.open()
    assert [was_open, bulk.is_open] == [False, True]
    bulk.send("SET", "a", b"\x00\r\n")
    bulk.send(b"GET", "a")
    bulk.send("INCRBY", "n", 7)
    bulk.send("LPOP", "a")
    big = "x" * 1_000_000
    bulk.send("SET", "big", big)
    bulk.send("GET", "big")
    reading = replies.run(bulk)
    await wait_until(lambda: len(replies) == 6, description="six replies")
    assert replies[:3] == [b"OK", b"\x00\r\n", 7]
    assert isinstance(replies[3], hiredis.ReplyError)
    assert replies[4:] == [b"OK", big.encode()]
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await bulk.close()
    assert [bulk.is_open] == [False]
    bulk.send("PING")
    await bulk.close()


async def test_what_is_sent_in_one_turn_of_the_loop_leaves_in_one_write(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = Replies()
    bulk = BulkConnection(connections.unpooled(), replies.append)
    await bulk.open()
    written: list[bytes] = []

    class Transport(asyncio.WriteTransport):
        def is_closing(self) -> bool:
            return False

        def write(self, data: bytes | bytearray | memoryview) -> None:
            written.append(bytes(data))

    monkeypatch.setattr(bulk, "_transport", Transport())
    bulk.send("PING")
    bulk.send("ECHO", "a")
    assert written == []
    await asyncio.sleep(0)
    bulk.send("ECHO", "b")
    await asyncio.sleep(0)
    commands = [b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$4\r\nECHO\r\n$1\r\na\r\n"]
    assert written == [b"".join(commands), b"*2\r\n$4\r\nECHO\r\n$1\r\nb\r\n"]
    bulk.send("PING")
    await bulk.close()
    await asyncio.sleep(0)  # what was sent last is lost, and nothing breaks
    assert len(written) == 2


async def test_what_is_not_open_cannot_be_read(connections: Connections) -> None:
    bulk = BulkConnection(connections.unpooled(), print)
    with pytest.raises(Unavailable):
        await bulk.run(silence_s=1, on_silence=lambda: True)
    await bulk.close()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    bulk = BulkConnection(Connections("redis://127.0.0.1:1").unpooled(), print)
    with pytest.raises(Unavailable):
        await bulk.open()
    await bulk.close()


async def test_a_connection_the_server_closes_is_unavailable(connections: Connections) -> None:
    bulk = BulkConnection(connections.unpooled(), print)
    await bulk.open()
    reading = Replies().run(bulk)
    await connections.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(Unavailable):
        await reading
    await bulk.close()


async def test_a_connection_the_server_half_closes_is_unavailable_whatever_is_not_sent_yet() -> (
    None
):
    is_over = asyncio.Event()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while (command := parser.gets()) != [b"PING"]:
            if command is False:
                parser.feed(await reader.read(1000))
            else:
                writer.write(b"+OK\r\n")
        writer.write_eof()
        await is_over.wait()
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        bulk = BulkConnection(Connections(f"redis://127.0.0.1:{port}").unpooled(), print)
        await bulk.open()
        reading = Replies().run(bulk)
        bulk.send("PING")
        bulk.send("SET", "big", "x" * 20_000_000)
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await reading
        await bulk.close()
        is_over.set()


async def test_a_connection_that_is_reset_is_unavailable(redis_url: str) -> None:
    async with FaultProxy(port_of(redis_url)) as proxy:
        bulk = BulkConnection(Connections(through(proxy, redis_url)).unpooled(), print)
        await bulk.open()
        reading = Replies().run(bulk)
        proxy.reset_all()
        with pytest.raises(Unavailable):
            await reading
        await bulk.close()


def test_what_is_sent_to_a_connection_that_uvloop_has_closed_meanwhile_is_lost(
    redis_url: str,
) -> None:
    async def send_and_lose() -> None:
        complaints: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        bulk = BulkConnection(Connections(redis_url).unpooled(), print)
        await bulk.open()
        bulk._transport.abort()  # type: ignore[union-attr]  # open
        reading = Replies().run(bulk)
        # Between this and the write at the end of the turn the loop may find the connection closed.
        bulk.send("PING")
        with pytest.raises(Unavailable):
            await reading
        bulk.send("PING")
        await asyncio.sleep(0)
        await bulk.close()
        assert complaints == []

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send_and_lose())


async def test_a_connection_that_is_lost_while_it_is_taken_over_is_unavailable(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop reported the loss to redis-py's protocol, and does not report it again."""
    connection = connections.unpooled()
    connect = connection.connect

    async def connect_and_lose() -> None:
        await connect()  # type: ignore[no-untyped-call]  # bare in redis-py
        connection._writer.transport.abort()  # type: ignore[union-attr]  # connected

    monkeypatch.setattr(connection, "connect", connect_and_lose)
    bulk = BulkConnection(connection, print)
    with pytest.raises(Unavailable):
        await bulk.open()
    await bulk.close()


async def test_whether_silence_is_right_is_asked_each_time(connections: Connections) -> None:
    bulk = BulkConnection(connections.unpooled(), print)
    await bulk.open()
    answers = iter([True, True, False])
    with pytest.raises(Unavailable):
        await bulk.run(silence_s=0.01, on_silence=lambda: next(answers))
    assert list(answers) == []
    await bulk.close()


async def test_a_connection_that_owes_a_reply_for_a_whole_silent_period_is_dead(
    connections: Connections,
) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with bulk_to(swallow, connections) as bulk:
        bulk.send("PING")
        with pytest.raises(Unavailable):
            await bulk.run(silence_s=0.01)


async def test_an_error_in_the_handler_of_a_reply_ends_run_and_no_later_reply_is_passed_on(
    connections: Connections,
) -> None:
    taken: list[Any] = []

    def take(reply: Any) -> None:
        taken.append(reply)
        raise KeyError

    bulk = BulkConnection(connections.unpooled(), take)
    await bulk.open()
    bulk.send("PING")
    bulk.send("PING")
    with pytest.raises(KeyError):
        await bulk.run(silence_s=5, on_silence=lambda: True)
    assert taken == [b"PONG"]
    await bulk.close()


async def test_bytes_that_are_not_replies_are_unavailable(connections: Connections) -> None:
    """Not a crash of the task that should connect again."""

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with bulk_to(babble, connections) as bulk:
        with pytest.raises(Unavailable):
            await bulk.run(silence_s=5, on_silence=lambda: False)
