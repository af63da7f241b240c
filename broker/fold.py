"""Pure: what a log means. Every view of a request is this fold of its entries, rendered."""

from typing import Any

from tickertape.broker.codec import Entry
from tickertape.broker.kinds import Status
from tickertape.broker.provider_fields import merge, without_logprobs


class Answer:
    """The state of a request after some entries of its log, in order.

    `started` and `reset` clear the output, `resumed` keeps the output, output entries extend the
    output, and a terminal ends the answer. An entry of a later version changes nothing. `x` has the
    provider fields of the message, without logprobs. The same entries always lead to the same
    answer.
    """

    def __init__(self) -> None:
        self.status: Status = "queued"
        self.n = 0
        self.model: str | None = None
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tool_calls: dict[int, dict[str, Any]] = {}
        self.x: dict[str, Any] = {}
        self.end: dict[str, Any] = {}
        self.last: Entry | None = None

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
            case "started" | "reset" | "resumed":
                self._open(entry)
            case "completed" | "failed" | "cancelled":
                self.status = entry.kind
                self.end = entry.data

    def snapshot(self) -> dict[str, Any]:
        """The state that a late reader needs before it continues with deltas, as JSON."""
        fields = {"x": self.x} if self.x else {}
        return fields | {
            "text": "".join(self.text),
            "reasoning": "".join(self.reasoning),
            "refusal": "".join(self.refusal),
            "tool_calls": [self.tool_calls[index] for index in sorted(self.tool_calls)],
            "status": self.status,
            "n": self.n,
        }

    def _open(self, entry: Entry) -> None:
        if entry.kind != "resumed":
            self.text, self.reasoning, self.refusal, self.tool_calls = [], [], [], {}
            self.x = {}
        self.status = "running"
        self.n = entry.data.get("n", self.n)
        self.model = entry.data.get("model", self.model)

    def _add_tool_call(self, piece: dict[str, Any]) -> None:
        index = piece.get("index", 0)
        call = self.tool_calls.setdefault(
            index, {"index": index, "id": None, "name": "", "arguments": ""}
        )
        # The id and the name are set once; only the arguments arrive in pieces.
        call["id"] = call["id"] or piece.get("id")
        call["name"] = call["name"] or piece.get("name") or ""
        call["arguments"] += piece.get("arguments") or ""
        if piece.get("type"):
            call.setdefault("type", piece["type"])
        if piece.get("x"):
            merge(call.setdefault("x", {}), piece["x"])


def fold(entries: list[Entry]) -> Answer:
    """The answer after all these entries."""
    answer = Answer()
    for entry in entries:
        answer.feed(entry)
    return answer
