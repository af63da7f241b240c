"""Pure: what a log means. Every view of a request is this fold of its entries, rendered."""

from typing import Any

from tickertape.broker.codec import Entry
from tickertape.broker.kinds import Status
from tickertape.broker.provider_fields import merge, without_logprobs


class Answer:
    """The state of a request after some entries of its log, in order.

    `started` and `reset` clear the output, `resumed` keeps the output, output entries extend the
    output, and a terminal ends the answer. An entry of a later version changes nothing. `x` has the
    provider fields of the message, without logprobs. `tool_results` and `data` have the data of
    these entries in order; data with an id takes the place of earlier data with its name and id.
    The same entries always lead to the same answer.
    """

    def __init__(self) -> None:
        self.status: Status = "queued"
        self.n = 0
        self.model: str | None = None
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self._calls: dict[int, _Call] = {}
        self.tool_results: list[dict[str, Any]] = []
        self._data: dict[object, dict[str, Any]] = {}
        self.x: dict[str, Any] = {}
        self.end: dict[str, Any] = {}
        self.last: Entry | None = None

    @property
    def tool_calls(self) -> dict[int, dict[str, Any]]:
        """The tool calls by their indices. Takes time for all of their pieces."""
        return {index: call.object() for index, call in self._calls.items()}

    @property
    def data(self) -> list[dict[str, Any]]:
        """The data parts in the order in which they began."""
        return [*self._data.values()]

    def feed(self, entry: Entry) -> None:
        """Apply the next entry of the log."""
        self.last = entry
        if entry.x:
            merge(self.x, without_logprobs(entry.x))
        match entry.kind:
            case "delta":
                # A delta without text has only provider fields.
                self.text += [entry.text] if entry.text else []
            case "reasoning":
                self.reasoning.append(entry.text)
            case "refusal":
                self.refusal.append(entry.text)
            case "tool_call":
                self._add_tool_call(entry.data)
            case "tool_result":
                self.tool_results.append(entry.data)
            case "data":
                part_id = entry.data.get("id")
                key = len(self._data) if part_id is None else (entry.data.get("name"), part_id)
                self._data[key] = entry.data
            case "started" | "reset" | "resumed":
                self._open(entry)
            case "completed" | "failed" | "cancelled":
                self.status = entry.kind
                self.end = entry.data

    def snapshot(self) -> dict[str, Any]:
        """The state that a late reader needs before it continues with deltas, as JSON."""
        optional = {"x": self.x, "tool_results": self.tool_results, "data": self.data}
        return {name: value for name, value in optional.items() if value} | {
            "text": "".join(self.text),
            "reasoning": "".join(self.reasoning),
            "refusal": "".join(self.refusal),
            "tool_calls": [call for _, call in sorted(self.tool_calls.items())],
            "status": self.status,
            "n": self.n,
        }

    def _open(self, entry: Entry) -> None:
        if entry.kind != "resumed":
            self.text, self.reasoning, self.refusal, self._calls = [], [], [], {}
            self.tool_results, self._data, self.x = [], {}, {}
        self.status = "running"
        self.n = entry.data.get("n", self.n)
        self.model = entry.data.get("model", self.model)

    def _add_tool_call(self, piece: dict[str, Any]) -> None:
        index = piece.get("index", 0)
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = _Call(index)
        call.add(piece)


class _Call:
    """A tool call. Its arguments may come in 100,000 pieces, which are joined once."""

    def __init__(self, index: int) -> None:
        self._fields: dict[str, Any] = {"index": index, "id": None, "name": "", "arguments": ""}
        self._arguments: list[str] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and self.object() == other.object()

    __hash__ = None  # type: ignore[assignment]  # pieces are added

    def add(self, piece: dict[str, Any]) -> None:
        # The id and the name are set once; only the arguments arrive in pieces.
        fields = self._fields
        fields["id"] = fields["id"] or piece.get("id")
        fields["name"] = fields["name"] or piece.get("name") or ""
        self._arguments.append(piece.get("arguments") or "")
        if piece.get("type"):
            fields.setdefault("type", piece["type"])
        if piece.get("x"):
            merge(fields.setdefault("x", {}), piece["x"])

    def object(self) -> dict[str, Any]:
        return {**self._fields, "arguments": "".join(self._arguments)}


def fold(entries: list[Entry]) -> Answer:
    """The answer after all these entries."""
    answer = Answer()
    for entry in entries:
        answer.feed(entry)
    return answer
