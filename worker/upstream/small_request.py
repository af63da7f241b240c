"""aiohttp's request, with a head and a small body that leave in one write.

aiohttp has a task that writes the body, because a body may be large or come in pieces. The bodies
of most calls fit into the buffer of a connection, and need neither the task nor its writer.
"""

from typing import TYPE_CHECKING

from aiohttp import BytesPayload, ClientRequest, ClientResponse
from aiohttp.http_writer import StreamWriter, _serialize_headers

if TYPE_CHECKING:
    from aiohttp.connector import Connection

_MOST_BYTES = 65_536


class SmallRequest(ClientRequest):
    """A request to a host, with bytes as the body; any other one is sent as aiohttp sends it."""

    async def send(self, conn: "Connection") -> ClientResponse:
        """Write the request; the response has not begun yet."""
        protocol, body = conn.protocol, self._body
        if (
            not isinstance(body, BytesPayload)
            or body.size is None
            or body.size > _MOST_BYTES
            or self.compress
            or self.chunked is not None
            or self._continue is not None
            or self.proxy is not None
            or protocol is None
            or protocol.transport is None
            or protocol.transport.is_closing()
            or protocol.writing_paused
        ):
            return await super().send(conn)
        line = f"{self.method} {self.url.raw_path_qs} HTTP/1.1"
        head = _serialize_headers(line, self.headers)
        protocol.transport.write(head + body._value)  # noqa: SLF001  aiohttp's payload has no view
        protocol.start_timeout()
        response = ClientResponse(
            self.method,
            self.original_url,
            writer=None,
            continue100=None,
            timer=self._timer,
            request_info=self.request_info,
            traces=self._traces,
            loop=self.loop,
            session=self._session,
            stream_writer=StreamWriter(protocol, self.loop),
        )
        self.response = response  # type: ignore[assignment]  # aiohttp types it as None
        return response
