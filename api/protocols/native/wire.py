"""The native wire: server-sent events with the cursor as their id."""

import random
from functools import cache

import msgspec

from tickertape.api.fanout.wire import Dialect
from tickertape.api.protocols.event_json import encode_json, escape_line_ends
from tickertape.broker.codec import START, Cursor, Entry
from tickertape.broker.fold import Answer
from tickertape.broker.kinds import TERMINALS
from tickertape.runtime.json_types import JsonObject

# Fields for the log (`v`, `prev`) or for one protocol (`echo`), which clients do not get.
_INTERNAL = frozenset({"v", "prev", "echo"})
# After a shutdown, the reconnections of the clients are spread over this time.
_RETURN_WITHIN_MS = 2000


class NativeWire:
    """Entries of one log as events; in a conversation's stream they carry their request's id.

    `place` are further fields of `queued`: where the request stands in its conversation.
    """

    def __init__(self, request_id: str | None = None, place: JsonObject | None = None) -> None:
        self._place = place or {}
        self._id_prefix = f"{request_id}:".encode() if request_id else b""
        self._before_all = f"{request_id}:{START}".encode() if request_id else b""
        self._shared_fields = {"request_id": request_id} if request_id else {}
        shared = encode_json(self._shared_fields)[1:-1]
        self._text_prefix = shared + b"," if shared else b""

    def frame(self, entry: Entry) -> bytes:
        """The event of an entry."""
        cursor = entry.cursor
        if entry.kind == "delta" and entry.x is None:
            # Nearly all entries are such deltas; formatting them directly takes half the time.
            text = msgspec.json.encode(entry.text)
            if not text.isascii():
                text = escape_line_ends(text)
            return b'id: %b%d-%d\nevent: delta\ndata: {%b"text":%b}\n\n' % (
                self._id_prefix, cursor.attempt, cursor.seq, self._text_prefix, text,
            )  # fmt: skip
        fields = self._shared_fields | _public(entry)
        data = encode_json(fields | self._place if entry.kind == "queued" else fields)
        return b"id: %b%d-%d\nevent: %b\ndata: %b\n\n" % (
            self._id_prefix, cursor.attempt, cursor.seq, entry.kind.encode(), data,
        )  # fmt: skip

    def notice(self, kind: str, data: JsonObject) -> bytes:
        """An event without an id, because a client cannot resume after a notice.

        The exception is `rewind`. In a conversation, its id lies before all entries. Elsewhere, its
        id is empty, which makes an EventSource forget its last id. If the connection breaks during
        the replay, the client thus starts from the first entry.
        https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
        """
        forget = b"id: %b\n" % self._before_all if kind == "rewind" else b""
        fields = encode_json(self._shared_fields | data)
        return b"%bevent: %b\ndata: %b\n\n" % (forget, kind.encode(), fields)

    def snapshot(self, cursor: Cursor, data: JsonObject) -> bytes:
        """One event that replaces all entries up to a cursor; the stream continues after it."""
        return b"id: %b%b\n%b" % (
            self._id_prefix,
            str(cursor).encode(),
            self.notice("snapshot", data),
        )


class SnapshotWire(NativeWire):
    """A log that is over, as one snapshot and the terminal.

    It is a wire of its own so that all readers of the snapshot share its bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answer = Answer()

    def frame(self, entry: Entry) -> bytes:
        """Nothing before the terminal, then the snapshot and the event of the terminal."""
        answer = self._answer
        if entry.kind not in TERMINALS:
            answer.feed(entry)
            return b""
        self._answer = Answer()
        end = super().frame(entry)
        if answer.last is None:
            return end
        return self.snapshot(answer.last.cursor, answer.snapshot()) + end


def retry_line(delay_ms: int) -> bytes:
    """The line that sets how long an EventSource waits before it reconnects."""
    return b"retry: %d\n\n" % delay_ms


def farewell() -> bytes:
    """The last bytes before a shutdown, which make clients reconnect after a random delay."""
    return retry_line(random.randrange(100, _RETURN_WITHIN_MS))


def _public(entry: Entry) -> JsonObject:
    if entry.kind in {"delta", "reasoning", "refusal"}:
        return {"text": entry.text, "x": entry.x} if entry.x else {"text": entry.text}
    return {key: value for key, value in entry.data.items() if key not in _INTERNAL}


def heartbeat(interval_s: float) -> bytes:
    """An event that shows a quiet connection to be alive, and how often the next ones come.

    A comment would do for proxies, but an EventSource hides comments from its page, which then
    never notices a dead connection. The event has no id, so the client's cursor stays.
    """
    return b'event: heartbeat\ndata: {"interval_s":%g}\n\n' % interval_s


@cache
def native_dialect(heartbeat_s: float) -> Dialect:
    """The native wire, with the heartbeats of a server that sends one every `heartbeat_s`."""
    return Dialect("native", NativeWire, comment=heartbeat(heartbeat_s), farewell=farewell)


@cache
def snapshot_dialect(heartbeat_s: float) -> Dialect:
    """The snapshot and the terminal of a log that is over, with heartbeats as `native_dialect`."""
    return Dialect(
        "native snapshot", SnapshotWire, comment=heartbeat(heartbeat_s), farewell=farewell
    )


# Pages assume this interval until the first heartbeat comes.
DEFAULT_HEARTBEAT_S = 15.0
NATIVE = native_dialect(DEFAULT_HEARTBEAT_S)
