"""Pure: bytes of an event stream, cut anywhere, to the `data` of its events.

Works on bytes and knows only CR, LF and CRLF as line ends: U+2028 and its like may stand inside
JSON, where `str.splitlines` would cut. What the data means is for others.
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from tickertape.worker.upstream.errors import UpstreamGarbage

MAX_EVENT_BYTES = 8 * 1024 * 1024


class ErrorData(bytes):
    """The data of an event that is an error by its name, whatever the data says."""


_BOM = b"\xef\xbb\xbf"


class SSEDecoder:
    """Collects segments and hands out the data of each event once its blank line has come.

    Ids and `retry` of events are ignored, and of their names all but `error`: the data of such an
    event comes as ErrorData, since Alibaba's says in no other way that it is an error. A field of
    that name, which the standard does not know, comes from llama.cpp and is taken for the same.
    https://github.com/ggml-org/llama.cpp/pull/16109

    An event of more than `max_event_bytes` raises UpstreamGarbage, so that an upstream cannot fill
    the memory with a line that never ends.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._partial = bytearray()
        self._drop_lf = False
        self._at_start = True

    def feed(self, segment: bytes) -> list[bytes]:
        """The data of every event that this segment completes, in order."""
        if self._drop_lf or b"\r" in segment:
            segment = self._with_lf(segment)
        if self._partial:
            # A blank line may have its first half in what is held back already.
            unsearched = len(self._partial) - 1
            self._partial += segment
            end = self._partial.rfind(b"\n\n", unsearched)
            if end < 0:
                return self._hold()
            events = bytes(self._partial[:end])
            del self._partial[: end + 2]
        else:
            end = segment.rfind(b"\n\n")
            if end < 0:
                self._partial += segment
                return self._hold()
            events = segment[:end]
            if end + 2 < len(segment):
                self._partial += segment[end + 2 :]
        if self._at_start:
            self._at_start = False
            events = events.removeprefix(_BOM)
        return self._data_of(events)

    def close(self) -> list[bytes]:
        """The data of a last event whose blank line never came: all of it, or what a cut left.

        The standard has it dropped. Some servers leave the blank line out behind their last event.
        """
        rest = bytes(self._partial)
        self._partial.clear()
        return self._data_of(rest.removeprefix(_BOM) if self._at_start else rest)

    def _with_lf(self, segment: bytes) -> bytes:
        # A CR ends its line at once; should the LF of a CRLF come with the next segment, it goes.
        if self._drop_lf and segment:
            segment = segment.removeprefix(b"\n")
            self._drop_lf = False
        if b"\r" in segment:
            self._drop_lf = segment.endswith(b"\r")
        return segment.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _hold(self) -> list[bytes]:
        if len(self._partial) > self._max_event_bytes:
            raise UpstreamGarbage("The upstream sent an event that is too large.")
        return []

    @staticmethod
    def _data_of(events: bytes) -> list[bytes]:
        if b"\n" not in events and events.startswith(b"data: "):
            return [events[6:]]  # one event of one line: most segments are no more than that
        found = []
        for event in events.split(b"\n\n"):
            if event.startswith(b"data: ") and b"\n" not in event:
                found.append(event[6:])
            elif (data := _joined_data(event)) is not None:
                found.append(data)
        return found


def _joined_data(event: bytes) -> bytes | None:
    values = []
    is_error = False
    for line in event.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            values.append(value)
        elif field == b"event":
            is_error = value == b"error"
        elif field == b"error":
            return ErrorData(value)
    if not values:
        return None
    data = b"\n".join(values)
    return ErrorData(data) if is_error else data
