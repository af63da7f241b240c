"""Pure: the calls of tools in one answer, put together from their pieces."""

from collections.abc import Iterator

from tickertape.broker.codec import made_call_id
from tickertape.broker.provider_fields import merge
from tickertape.runtime.json_types import JsonObject


class Call:
    """One call. The worker has given it an index and an id that no other call has.

    Logs of version 0.1.0 may lack the id, or have that of another call, which clients trip over:
    then it is made here as the worker makes it.
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
        """All arguments so far: JSON, once they are complete; of a custom tool, any text."""
        return "".join(self._arguments)

    def add(self, piece: JsonObject) -> None:
        """Take a piece."""
        self.name = self.name or piece.get("name") or ""
        merge(self.x, piece.get("x") or {})
        self._arguments.append(piece.get("arguments") or "")


class Calls:
    """The calls of one answer, in the order in which they began."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._by_index: dict[int, Call] = {}
        self._ids: set[str] = set()

    def __iter__(self) -> Iterator[Call]:
        return iter(self._by_index.values())

    def __bool__(self) -> bool:
        return bool(self._by_index)

    def take(self, piece: JsonObject) -> tuple[Call, bool]:
        """The call that a `tool_call` entry adds to, and whether this begins it."""
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
