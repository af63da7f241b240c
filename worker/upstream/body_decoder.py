"""Pure: reads the data of events from the body of a 200, whatever form the body has.

The first bytes decide the form, because media types are not reliable: gateways send event streams
as `text/html`, and errors in JSON as `text/event-stream`. An upstream that does not stream answers
with one JSON document, which is a completion or an error.
"""

import re
from collections.abc import Callable

from tickertape.broker.errors import TooLong
from tickertape.worker.upstream.errors import UpstreamGarbage
from tickertape.worker.upstream.sse import SSEDecoder

# A body without any field of an event stream in this many bytes is not an event stream.
_MAX_HEAD_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"
_FIELD = re.compile(rb"(?:^|[\r\n])(?:data|event|id|retry|error)?:")


class BodyDecoder:
    """Returns the data of each event. A document is one event, at the end of the body.

    `feed` reads the next segment of the body, and returns the data of each event that the segment
    completes. A document of more than `max_document_bytes` raises TooLong; a body of another form
    raises UpstreamGarbage.
    """

    def __init__(self, max_document_bytes: int) -> None:
        # Once the form is known, this is the method of its decoder, at no extra cost per token.
        self.feed: Callable[[bytes], list[bytes]] = self._find_form
        self.is_stream = False
        self.is_document = False
        self._max_document_bytes = max_document_bytes
        self._head = b""
        self._document = bytearray()
        self._events = SSEDecoder()

    def close(self) -> list[bytes]:
        """The data that the body's end completes: the document, or an event without blank line."""
        if self.is_stream:
            return self._events.close()
        if self.is_document:
            return [bytes(self._document)]
        raise _without_form()

    def _find_form(self, segment: bytes) -> list[bytes]:
        # Some servers send blank lines until the document is ready, to keep the connection alive.
        self._head = (self._head + segment).removeprefix(_BOM).lstrip()
        if self._head.startswith((b"{", b"[")):
            self.is_document = True
            self.feed = self._collect
        elif _FIELD.search(self._head) and not self._head.startswith(b"<"):
            self.is_stream = True
            self.feed = self._events.feed
        elif self._head.startswith(b"<") or len(self._head) > _MAX_HEAD_BYTES:
            raise _without_form()
        else:
            return []
        return self.feed(self._head)

    def _collect(self, segment: bytes) -> list[bytes]:
        self._document += segment
        if len(self._document) > self._max_document_bytes:
            raise TooLong
        return []


def _without_form() -> UpstreamGarbage:
    return UpstreamGarbage("The upstream answered 200, but with neither an event stream nor JSON.")
