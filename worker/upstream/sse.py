"""Pure: reads the `data` of events from the bytes of an event stream, which may be cut anywhere.

Works on bytes, and accepts only CR, LF and CRLF as line ends. `str.splitlines` would also cut at
U+2028 and similar characters, which may be part of JSON. The meaning of the data is not read here.
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from tickertape.worker.upstream.errors import UpstreamGarbage

MAX_EVENT_BYTES = 8 * 1024 * 1024


class ErrorData(bytes):
    """The data of an event whose name is `error`, whatever the data is."""


_BOM = b"\xef\xbb\xbf"


class SSEDecoder:
    """Collects segments, and returns the data of each event once its blank line has come.

    Ids, `retry`, and all names but `error` are ignored. The data of an event with that name is
    ErrorData, because Alibaba's errors have no other mark. llama.cpp sends a field named `error`,
    which the standard does not have, and which is read as the same:
    https://github.com/ggml-org/llama.cpp/pull/16109

    An event of more than `max_event_bytes` raises UpstreamGarbage, so that an endless line cannot
    fill the memory.
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
            # The first half of a blank line may be in the partial event already.
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
        """The data of a last event without its blank line: all of it, or the part before a cut.

        The standard drops such an event, but some servers omit the blank line after their last one.
        """
        rest = bytes(self._partial)
        self._partial.clear()
        return self._data_of(rest.removeprefix(_BOM) if self._at_start else rest)

    def _with_lf(self, segment: bytes) -> bytes:
        # A CR ends its line at once. If its LF comes with the next segment, the LF is dropped.
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
            return [events[6:]]  # one event of one line, as most segments are
        data_of_events = []
        for event in events.split(b"\n\n"):
            if event.startswith(b"data: ") and b"\n" not in event:
                data_of_events.append(event[6:])
            elif (data := _joined_data(event)) is not None:
                data_of_events.append(data)
        return data_of_events


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
