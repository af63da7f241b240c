"""Pure: assembles the tool calls of one answer from their pieces."""

from collections.abc import Iterator

from tickertape.broker.codec import made_call_id
from tickertape.broker.provider_fields import merge
from tickertape.runtime.json_types import JsonObject


class Call:
    """One tool call. The worker has set its index and an id that is unique within the answer.

    Logs of version 0.1.0 may lack the id, or repeat that of another call, which breaks clients.
    `Calls` then makes an id the same way as the worker.
    """

    def __init__(self, index: int, call_id: str, kind: str) -> None:
        self.index = index
        self.id = call_id
        self.kind = kind
        self.name = ""
        self.x: JsonObject = {}
        self._arguments: list[str] = []

    @property
    def arguments(self) -> str:
        """The arguments so far. Complete ones are JSON, or any text for a custom tool."""
        return "".join(self._arguments)

    def add(self, piece: JsonObject) -> None:
        self.name = self.name or piece.get("name") or ""
        merge(self.x, piece.get("x") or {})
        self._arguments.append(piece.get("arguments") or "")


class Calls:
    """The tool calls of one answer, in the order of their first pieces."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._by_index: dict[int, Call] = {}
        self._ids: set[str] = set()

    def __iter__(self) -> Iterator[Call]:
        return iter(self._by_index.values())

    def __len__(self) -> int:
        return len(self._by_index)

    def at(self, index: object) -> Call | None:
        """The call with an index, if it has begun."""
        return self._by_index.get(index) if isinstance(index, int) else None

    def add(self, piece: JsonObject) -> tuple[Call, bool]:
        """Add the piece of a `tool_call` entry; returns its call, and whether the call is new."""
        index = int(piece.get("index", 0))
        call = self._by_index.get(index)
        is_new = call is None
        if call is None:
            call = self._by_index[index] = Call(
                index, self._id_of(piece, index), piece.get("type") or "function"
            )
        call.add(piece)
        return call, is_new

    def _id_of(self, piece: JsonObject, index: int) -> str:
        call_id = str(piece.get("id") or "")
        if not call_id or call_id in self._ids:
            call_id = made_call_id(self._request_id, index)
        self._ids.add(call_id)
        return call_id
