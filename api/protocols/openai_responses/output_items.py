"""The output of a response: its items, assembled from a log, and the events of their changes.

Pure. Only one item of reasoning or text is open at a time, because an entry of another kind closes
the open item first. Tool calls may be interleaved, so each call stays open until the answer ends.
"""

from tickertape.api.protocols.tool_calls import Call, Calls
from tickertape.broker.provider_fields import merge
from tickertape.runtime.json_types import JsonObject

Event = tuple[str, JsonObject]

# The type of the item and the type of the part that an entry of a kind belongs to.
_PARTS = {
    "delta": ("message", "output_text"),
    "refusal": ("message", "refusal"),
    "reasoning": ("reasoning", "reasoning_text"),
}
_FIELDS_WHEN_DONE = frozenset({"text", "refusal", "logprobs"})
_ID_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


class Part:
    """A piece of an item's content."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._texts: list[str] = []
        self._logprobs: list[JsonObject] = []
        self.annotations: list[JsonObject] = []

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    def add(self, text: str, logprobs: list[JsonObject]) -> None:
        self._texts.append(text)
        self._logprobs += logprobs

    def object(self) -> JsonObject:
        """The part as it is now."""
        match self.kind:
            case "output_text":
                about = {"annotations": list(self.annotations), "logprobs": list(self._logprobs)}
                return {"type": self.kind, "text": self.text, **about}
            case "refusal":
                return {"type": self.kind, "refusal": self.text}
        return {"type": self.kind, "text": self.text}

    def delta(self, text: str, logprobs: list[JsonObject]) -> Event:
        """The event for a piece."""
        fields = {"logprobs": logprobs} if self.kind == "output_text" else {}
        return f"response.{self.kind}.delta", {"delta": text, **fields}

    def done(self) -> Event:
        """The event for the end of the part."""
        part = self.object()
        fields = {name: value for name, value in part.items() if name in _FIELDS_WHEN_DONE}
        return f"response.{self.kind}.done", fields


class Item:
    """One item. A function call has `call`, other items have `parts`.

    `x` holds the provider fields, for which OpenAI's API has no field. Clients keep unknown fields,
    so they send these back with the item.
    """

    def __init__(self, kind: str, item_id: str, index: int, call: Call | None = None) -> None:
        self.kind = kind
        self.id = item_id
        self.index = index
        self.call = call
        self.parts: list[Part] = []
        self.x: JsonObject = {} if call is None else call.x
        self.status = "in_progress"

    def object(self) -> JsonObject:
        """The item as it is now."""
        about: JsonObject = {"id": self.id, "type": self.kind, "status": self.status}
        if self.x:
            about["x"] = self.x
        if self.call is not None:
            call = self.call
            return about | {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        content = [part.object() for part in self.parts]
        if self.kind == "reasoning":
            return about | {"summary": [], "content": content}
        return about | {"role": "assistant", "content": content}


class Output:
    """The items of one answer."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._calls = Calls(request_id)
        self._call_items: dict[int, Item] = {}
        self._open: Item | None = None
        self._held_x: JsonObject = {}
        self.items: list[Item] = []

    def objects(self) -> list[JsonObject]:
        """The items as they are now."""
        return [item.object() for item in self.items]

    def write(
        self, kind: str, text: str, logprobs: list[JsonObject], x: JsonObject | None = None
    ) -> list[Event]:
        """Add an output entry that has text, or only provider fields; returns its events."""
        merge(self._held_x, x or {})
        if not text:
            return self._attach(logprobs)
        item_kind, part_kind = _PARTS[kind]
        events: list[Event] = []
        item = self._open
        if item is None or item.kind != item_kind:
            events += self._close_open("completed")
            item = self._open = self._add(item_kind, None)
            events.append(_added(item))
        if not item.parts or item.parts[-1].kind != part_kind:
            events += _part_done(item)
            item.parts.append(Part(part_kind))
            events.append(_of_part(item, "response.content_part.added", _part_object(item)))
        part = item.parts[-1]
        part.add(text, logprobs)
        return [*events, _of_part(item, *part.delta(text, logprobs)), *self._attach([])]

    def add_call(self, piece: JsonObject) -> list[Event]:
        """Add a piece of a tool call; a call has no events until its name arrives."""
        events = self._close_open("completed")
        call, _ = self._calls.add(piece)
        item = self._call_items.get(call.index)
        if item is not None:
            return events + _arguments(item, piece.get("arguments") or "")
        return events + (self._begin_call(call) if call.name else [])

    def close(self, status: str) -> list[Event]:
        """Close the open items, in order. The last one gets this status, the others `completed`."""
        begun = [
            self._begin_call(call) for call in self._calls if call.index not in self._call_items
        ]
        events = [event for events in begun for event in events]
        if self._held_x:
            events += self._hold_fields()
        still_open = [item for item in self.items if item.status == "in_progress"]
        for item in still_open:
            events += _done(item, status if item is still_open[-1] else "completed")
        self._open = None
        return events

    def _attach(self, logprobs: list[JsonObject]) -> list[Event]:
        """Add data without text to the open item. Without one, fields wait for the next item."""
        item = self._open
        if item is None:
            return []
        if item.parts and logprobs:
            item.parts[-1].add("", logprobs)
        x, self._held_x = self._held_x, {}
        is_text = bool(item.parts) and item.parts[-1].kind == "output_text"
        cited, x = _citations(x) if is_text else ([], x)
        merge(item.x, x)
        return [_annotated(item, citation) for citation in cited]

    def _hold_fields(self) -> list[Event]:
        """Open an item for provider fields that arrived while no item was open."""
        item = self._open = self._add("message", None)
        self._attach([])
        return [_added(item)]

    def break_off(self) -> None:
        """Mark the open items as incomplete, because the answer broke off."""
        for item in self.items:
            if item.status == "in_progress":
                item.status = "incomplete"

    def _begin_call(self, call: Call) -> list[Event]:
        item = self._call_items[call.index] = self._add("function_call", call)
        kind, fields = _added(item)
        # The arguments so far follow as the first delta.
        fields["item"]["arguments"] = ""
        return [(kind, fields), *_arguments(item, call.arguments)]

    def _add(self, kind: str, call: Call | None) -> Item:
        index = len(self.items)
        item = Item(kind, f"{_ID_PREFIXES[kind]}_{self._request_id}_{index}", index, call)
        self.items.append(item)
        return item

    def _close_open(self, status: str) -> list[Event]:
        item, self._open = self._open, None
        return _done(item, status) if item is not None else []


def _added(item: Item) -> Event:
    return "response.output_item.added", {"output_index": item.index, "item": item.object()}


def _done(item: Item, status: str) -> list[Event]:
    item.status = status
    events = _part_done(item)
    if item.call is not None:
        arguments = {"arguments": item.call.arguments, "name": item.call.name}
        about = {"item_id": item.id, "output_index": item.index, **arguments}
        events.append(("response.function_call_arguments.done", about))
    ended = {"output_index": item.index, "item": item.object()}
    return [*events, ("response.output_item.done", ended)]


def _part_done(item: Item) -> list[Event]:
    if not item.parts:
        return []
    return [
        _of_part(item, *item.parts[-1].done()),
        _of_part(item, "response.content_part.done", _part_object(item)),
    ]


def _part_object(item: Item) -> JsonObject:
    return {"part": item.parts[-1].object()}


def _of_part(item: Item, kind: str, fields: JsonObject) -> Event:
    ids = {
        "item_id": item.id,
        "output_index": item.index,
        "content_index": len(item.parts) - 1,
    }
    return kind, {**ids, **fields}


def _citations(x: JsonObject) -> tuple[list[JsonObject], JsonObject]:
    """The URL citations in OpenAI's form, and the other provider fields."""
    annotations = x.get("annotations")
    if not isinstance(annotations, list):
        return [], x
    citations = [_citation(annotation) for annotation in annotations]
    others = [
        annotation
        for annotation, citation in zip(annotations, citations, strict=True)
        if citation is None
    ]
    rest = {name: value for name, value in x.items() if name != "annotations"}
    return [citation for citation in citations if citation], rest | (
        {"annotations": others} if others else {}
    )


def _citation(annotation: object) -> JsonObject | None:
    match annotation:
        case {"type": "url_citation", "url_citation": {"url": str(url), **more}}:
            title, indices = more.get("title"), [more.get("start_index"), more.get("end_index")]
            start, end = (index if isinstance(index, int) else 0 for index in indices)
            title = title if isinstance(title, str) else ""
            about = {"start_index": start, "end_index": end, "title": title}
            return {"type": "url_citation", "url": url, **about}
    return None


def _annotated(item: Item, citation: JsonObject) -> Event:
    part = item.parts[-1]
    part.annotations.append(citation)
    about = {"annotation_index": len(part.annotations) - 1, "annotation": citation}
    return _of_part(item, "response.output_text.annotation.added", about)


def _arguments(item: Item, text: str) -> list[Event]:
    if not text:
        return []
    ids = {"item_id": item.id, "output_index": item.index}
    return [("response.function_call_arguments.delta", {**ids, "delta": text})]
