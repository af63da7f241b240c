"""The output of a response: its items, put together from a log, and the events that tell of it.

Pure. Reasoning, text and refusals follow one another: another kind ends the one before it. Calls of
tools may come interleaved, so each stays open until the answer ends.
"""

from tickertape.api.protocols.tool_calls import Call, Calls
from tickertape.broker.provider_fields import merge
from tickertape.runtime.json_types import JsonObject

Event = tuple[str, JsonObject]

# Of an entry's kind: the type of item it belongs to, the type of its part, and what its events say.
_PARTS = {
    "delta": ("message", "output_text"),
    "refusal": ("message", "refusal"),
    "reasoning": ("reasoning", "reasoning_text"),
}
_SAID_WHEN_DONE = frozenset({"text", "refusal", "logprobs"})
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
        """All of it so far."""
        return "".join(self._texts)

    def add(self, text: str, logprobs: list[JsonObject]) -> None:
        """Take a piece."""
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
        said = {"logprobs": logprobs} if self.kind == "output_text" else {}
        return f"response.{self.kind}.delta", {"delta": text, **said}

    def done(self) -> Event:
        """The event for the end of it."""
        whole = self.object()
        said = {name: value for name, value in whole.items() if name in _SAID_WHEN_DONE}
        return f"response.{self.kind}.done", said


class Item:
    """One item. `call` is set for a function call, `parts` are there for the others.

    `x` has the provider fields, for which OpenAI has no place. Clients keep what they do not know,
    and so give them back with the item.
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
        """Take an output entry that has text, or nothing but provider fields."""
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

    def take_call(self, piece: JsonObject) -> list[Event]:
        """Take a piece of a call; a call without a name yet is not told."""
        events = self._close_open("completed")
        call, _ = self._calls.take(piece)
        item = self._call_items.get(call.index)
        if item is not None:
            return events + _arguments(item, piece.get("arguments") or "")
        return events + (self._begin_call(call) if call.name else [])

    def close(self, status: str) -> list[Event]:
        """End what is open, in order. The last gets this status, the others are complete."""
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
        """Put what came without text into the item that is open; fields wait for the next one."""
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
        """An item for the provider fields that came when none was open."""
        item = self._open = self._add("message", None)
        self._attach([])
        return [_added(item)]

    def leave(self) -> None:
        """Mark what is open as what it will stay: incomplete."""
        for item in self.items:
            if item.status == "in_progress":
                item.status = "incomplete"

    def _begin_call(self, call: Call) -> list[Event]:
        item = self._call_items[call.index] = self._add("function_call", call)
        kind, fields = _added(item)
        # What is there of its arguments comes as the first delta.
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
    place = {
        "item_id": item.id,
        "output_index": item.index,
        "content_index": len(item.parts) - 1,
    }
    return kind, {**place, **fields}


def _citations(x: JsonObject) -> tuple[list[JsonObject], JsonObject]:
    """The citations of pages as this API has them, and the fields without those."""
    given = x.get("annotations")
    if not isinstance(given, list):
        return [], x
    cited = [_citation(each) for each in given]
    others = [each for each, known in zip(given, cited, strict=True) if known is None]
    rest = {name: value for name, value in x.items() if name != "annotations"}
    return [each for each in cited if each], rest | ({"annotations": others} if others else {})


def _citation(annotation: object) -> JsonObject | None:
    match annotation:
        case {"type": "url_citation", "url_citation": {"url": str(url), **more}}:
            title, places = more.get("title"), [more.get("start_index"), more.get("end_index")]
            start, end = (place if isinstance(place, int) else 0 for place in places)
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
    place = {"item_id": item.id, "output_index": item.index}
    return [("response.function_call_arguments.delta", {**place, "delta": text})]
