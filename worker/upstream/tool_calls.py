"""Pure: turns an upstream's partial tool calls into pieces with final indexes and ids.

Upstreams disagree on how to mark the parts of a call. In a log, each call has a separate index,
counted from 0 in the order in which the calls began, and an id that is unique in the answer. The
first piece of a call has both, and the name of the tool. All later pieces only add arguments.
"""

from typing import Any

import msgspec

from tickertape.broker.codec import made_call_id
from tickertape.broker.provider_fields import merge
from tickertape.worker.upstream.chunk_json import Function, ToolCall
from tickertape.worker.upstream.surrogates import SurrogateMender

_NOTHING = Function()


class _Call:
    """A call that has begun. `upstream_id` is the upstream's id for the call, if it has one."""

    def __init__(self, index: int, upstream_id: str | None) -> None:
        self.index = index
        self.upstream_id = upstream_id
        self.kind = "function"
        self.name = ""
        self.arguments: list[str] = []
        self.x: dict[str, Any] = {}
        self.is_written = False

    @property
    def text(self) -> str:
        """All arguments so far."""
        return "".join(self.arguments)

    def is_whole(self) -> bool:
        """Whether the arguments are a whole JSON object, so that no more can follow."""
        try:
            return isinstance(msgspec.json.decode(self.text), dict)
        except (ValueError, RecursionError):
            return False


class CallReader:
    """Reads the partial calls of one answer, in order.

    A call is written when its name is known, because clients need the name. `mender` keeps half a
    character of its arguments until the other half comes.
    """

    def __init__(self, request_id: str, mender: SurrogateMender) -> None:
        self._request_id = request_id
        self._mender = mender
        self._calls: list[_Call] = []
        self._at_index: dict[int, list[_Call]] = {}
        self._last: _Call | None = None
        self._ids: set[str] = set()
        # The latest call with each id of the upstream, at each index and, by None, anywhere.
        self._with_id: dict[tuple[int | None, str | None], _Call] = {}

    def read(self, part: ToolCall) -> dict[str, Any] | None:
        """The data of the `tool_call` entry for a part; None if the part adds nothing yet."""
        function = part.function or part.custom or _NOTHING
        arguments = function.arguments if part.custom is None else function.input
        has_type = part.type is not None and part.type != "function"
        if not (part.id or function.name or arguments is not None or part.x or has_type):
            return None
        call = self._call_of(part, function.name, arguments)
        if call is None:
            return None
        self._last = call
        call.upstream_id = call.upstream_id or part.id
        if call.upstream_id == part.id:
            self._with_id[part.index, part.id] = self._with_id[None, part.id] = call
        call.name = call.name or function.name or ""
        if part.type:
            call.kind = part.type
        elif part.custom is not None:
            call.kind = "custom"
        text = self._mender.mend(f"tool_call:{call.index}", arguments) if arguments else ""
        if text:
            call.arguments.append(text)
        if call.is_written:
            return _addition(call, text, part.x)
        merge(call.x, part.x or {})
        return self._beginning(call) if call.name else None

    def close(self) -> list[dict[str, Any]]:
        """The data of the entries for calls without a name."""
        return [self._beginning(call) for call in self._calls if not call.is_written]

    def _call_of(self, part: ToolCall, name: str | None, arguments: str | None) -> _Call | None:
        """The call of a part, which may be a new call; None for a repeated part."""
        is_placed = part.index is not None
        there = self._at_index.get(part.index, []) if part.index is not None else self._calls
        if not there:
            return self._begin(part)
        last = there[-1] if is_placed else self._last or there[-1]
        if part.id:
            known = self._with_id.get((part.index, part.id))
            if known is not None:
                return self._same_or_next(known, part, name, arguments)
        if not name:
            # An id without arguments announces a call. Some upstreams change the id with each part.
            announces = bool(part.id) and not arguments and not is_placed
            return self._begin(part) if announces else last
        if not last.name:
            return last
        is_new = bool(part.id and last.upstream_id) or _is_another(last, name, arguments)
        return self._begin(part) if is_new else last

    def _same_or_next(
        self, known: _Call, part: ToolCall, name: str | None, arguments: str | None
    ) -> _Call | None:
        """The call for a part with the id of `known`: that call, or a new one."""
        if not name or not known.arguments or not _is_another(known, name, arguments):
            return known
        # The last part of a stream may repeat the whole call.
        is_repeated = name == known.name and arguments == known.text
        return None if is_repeated else self._begin(part)

    def _begin(self, part: ToolCall) -> _Call:
        call = _Call(len(self._calls), part.id)
        self._calls.append(call)
        if part.index is not None:
            self._at_index.setdefault(part.index, []).append(call)
        return call

    def _beginning(self, call: _Call) -> dict[str, Any]:
        call.is_written = True
        call_id = call.upstream_id
        if not call_id or call_id in self._ids:
            call_id = made_call_id(self._request_id, call.index)
        self._ids.add(call_id)
        data: dict[str, Any] = {"index": call.index, "id": call_id}
        if call.kind != "function":
            data["type"] = call.kind
        if call.name:
            data["name"] = call.name
        data["arguments"] = call.text
        if call.x:
            data["x"] = call.x
        return data


def _addition(call: _Call, text: str, x: dict[str, Any] | None) -> dict[str, Any] | None:
    data: dict[str, Any] = {"index": call.index}
    if text:
        data["arguments"] = text
    if x:
        data["x"] = x
    return data if len(data) > 1 else None


def _is_another(call: _Call, name: str, arguments: str | None) -> bool:
    """Whether a part with this name cannot belong to the call."""
    return name != call.name or (bool(arguments and arguments.strip()) and call.is_whole())
