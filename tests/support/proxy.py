"""A TCP proxy that delays, loses and breaks connections, as networks do."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Self

_READ_BYTES = 65_536
_GATEWAY_TIME_OUT = (
    b"HTTP/1.1 504 Gateway Time-out\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


@dataclass(eq=False)
class _Link:
    client: asyncio.StreamWriter
    target: asyncio.StreamWriter
    is_lost: bool = False
    breaks_on_reply: asyncio.Event | None = None
    # Whether the client has sent something, and the target has not replied to it.
    is_unanswered: bool = False
    # How many events of the reply get through before it is cut.
    events_left: int | None = None

    def end_in(self, data: bytes) -> int | None:
        """Where the reply is to be cut in these bytes of it; None if it goes on behind them."""
        if self.events_left is None:
            return None
        ends = [found.end() for found in re.finditer(b"\n\n", data)]
        left, self.events_left = self.events_left, max(0, self.events_left - len(ends))
        return ends[left - 1] if left <= len(ends) else None

    def reset(self) -> None:
        self.client.transport.abort()
        # Close instead of abort, so that the target still gets all forwarded bytes.
        self.target.close()


class FaultProxy:
    """Forwards `127.0.0.1:port` to `host`:`target_port`, with the faults that its attributes set.

    `delay_s` holds back each piece in both directions. While `is_blackhole` is set nothing gets
    through in either direction and neither side notices, as when a cable is cut. A connection that
    lost bytes this way stays dead afterwards, and new ones work. `carried` is every byte that the
    target replied, if it is set to a bytearray. If the target is silent for `gives_up_after_s`, the
    proxy answers 504 (`given_up`), or breaks off in mid-answer, as nginx does after 60 s. `cuts`
    has a number for each new connection: so many events of its reply get through, and the reply
    then ends without its last chunk. A connection whose number is None is not cut.
    """

    def __init__(self, target_port: int, *, host: str = "127.0.0.1") -> None:
        self.port = 0
        self.delay_s = 0.0
        self.is_blackhole = False
        self.connection_count = 0
        self.carried: bytearray | None = None
        self.gives_up_after_s: float | None = None
        self.given_up = 0
        self.cuts: Iterator[int | None] | None = None
        self._target = host, target_port
        self._turns: Iterator[int] | None = None
        self._losing: tuple[bytes, asyncio.Event, bool] | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def lose_reply_to(self, marker: bytes) -> asyncio.Event:
        """Let the next request with `marker` (in any case) through, and break before its reply.

        The connection is reset when the target answers, so the target has done what was asked and
        the client cannot know. The event returned is set when that has happened.
        """
        lost = asyncio.Event()
        self._losing = marker.upper(), lost, True
        return lost

    def lose_request(self, marker: bytes) -> asyncio.Event:
        """Break at the next request with `marker` (in any case), before the target has seen it."""
        lost = asyncio.Event()
        self._losing = marker.upper(), lost, False
        return lost

    def lead_to(self, target_port: int) -> None:
        """Forward new connections elsewhere, as after a fail-over; what is open is broken."""
        self.lead_new_to(target_port)
        self.reset_all()

    def lead_new_to(self, target_port: int) -> None:
        """Forward new connections elsewhere and keep the open ones, as TCP balancers do."""
        self._target = self._target[0], target_port

    def take_turns(self, *target_ports: int) -> None:
        """Forward each new connection to the next of these ports, as balancers do."""
        self._turns = cycle(target_ports)

    @property
    def target_port(self) -> int:
        """Where new connections are led."""
        return self._target[1]

    def reset_all(self) -> None:
        """Break every open connection."""
        for link in [*self._links]:
            link.reset()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count += 1
        task = asyncio.create_task(self._forward(reader, writer), name="proxied connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target
        port = port if self._turns is None else next(self._turns)
        try:
            target_reader, target_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, target_writer)
        link.events_left = None if self.cuts is None else next(self.cuts)
        self._links.add(link)
        try:
            # The first side to end ends both, because no proxied connection half-closes.
            async with asyncio.TaskGroup() as ways:
                requests = ways.create_task(self._carry_requests(reader, link))
                replies = ways.create_task(self._carry_replies(target_reader, link))
                requests.add_done_callback(lambda _: replies.cancel())
                replies.add_done_callback(lambda _: requests.cancel())
        except* ConnectionError:
            pass  # one side was aborted while the other had bytes for it
        finally:
            self._links.discard(link)
            writer.close()
            target_writer.close()

    async def _carry_requests(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while data := await self._read(reader, link):
            if self._losing is not None and self._losing[0] in data.upper():
                _, lost, is_sent = self._losing
                self._losing = None
                if not is_sent:
                    link.reset()
                    lost.set()
                    return
                link.breaks_on_reply = lost
            link.is_unanswered = True
            if link.target.is_closing():
                return
            link.target.write(data)
            await link.target.drain()

    async def _carry_replies(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while data := await self._read_in_time(reader, link):
            link.is_unanswered = False
            if link.breaks_on_reply is not None:
                link.reset()
                link.breaks_on_reply.set()
                return
            if link.client.is_closing():
                return
            if self.carried is not None:
                self.carried += data
            end = link.end_in(data)
            link.client.write(data[:end])
            await link.client.drain()
            if end is not None:
                return

    async def _read_in_time(self, reader: asyncio.StreamReader, link: _Link) -> bytes:
        """The next bytes of the target, empty also when the proxy gives up."""
        try:
            async with asyncio.timeout(self.gives_up_after_s):
                return await self._read(reader, link)
        except TimeoutError:
            if link.is_unanswered:
                self.given_up += 1
                link.client.write(_GATEWAY_TIME_OUT)
            else:
                link.client.transport.abort()
            return b""

    async def _read(self, reader: asyncio.StreamReader, link: _Link) -> bytes:
        """The next bytes that get through, empty when the connection has ended."""
        try:
            while data := await reader.read(_READ_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                link.is_lost |= self.is_blackhole
                if not link.is_lost:
                    return data
        except ConnectionError:
            pass
        return b""
