"""Answers to HTTP/1.0, which knows no chunks: the body stands as it is, and the close ends it.

uvicorn's httptools protocol sends chunks to any client, and an old one takes their sizes for text
(uvicorn#1360). RFC 9112 6.1 forbids it: "A server MUST NOT send a response containing
Transfer-Encoding unless the corresponding request indicates HTTP/1.1 (or later minor revisions)."
"""

import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

# SO_LINGER: whether to wait, and for how many seconds. To wait for 0 s is to reset the connection.
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
_FINISH_AT_CLOSE = struct.pack("ii", 0, 0)


class UnframedCycle(RequestResponseCycle):
    """One call of an HTTP/1.0 client.

    Where no last chunk tells the end from a cut, the connection does: until the body is whole,
    whatever closes the connection resets it, the death of this process included.
    """

    _is_unframed = False

    async def send(self, message: Any) -> None:
        """Send a part of the answer; without a known length, uvicorn is given that of each part."""
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            if b"content-length" not in names:
                self._is_unframed = True
                self.chunked_encoding = False
                self._close_with(_RESET_AT_CLOSE)
        elif self._is_unframed:
            self.expected_content_length = len(message.get("body", b""))
            if not message.get("more_body", False):
                self._close_with(_FINISH_AT_CLOSE)
        await super().send(message)

    def _close_with(self, lingering: bytes) -> None:
        connected: socket.socket = self.transport.get_extra_info("socket")
        if not self.transport.is_closing():
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
