"""One recorded log with every kind of entry, and the bytes of each wire for it.

The log is golden/log.jsonl: an entry per line, its id and its stored value. After a change that is
meant, `python -m tests.wires.recorded` rewrites the golden files; read the difference.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.wire import Dialect
from tickertape.api.protocols.agui import wire as agui
from tickertape.api.protocols.ai_sdk import wire as ui_message
from tickertape.api.protocols.native.text_wire import TEXT
from tickertape.api.protocols.native.wire import NATIVE
from tickertape.api.protocols.openai_chat import wire as chat_completions
from tickertape.api.protocols.openai_responses import wire as responses
from tickertape.broker.codec import Cursor, Entry, decode

FOLDER = Path(__file__).parent / "golden"
REQUEST_ID = "r0_" + "a" * 26
DIALECTS = {
    "native": NATIVE,
    "text": TEXT,
    "chat_completions": chat_completions.dialect(REQUEST_ID, include_usage=True),
    "responses": responses.dialect(REQUEST_ID),
    "ui_message": ui_message.dialect(REQUEST_ID),
    "agui": agui.dialect(REQUEST_ID),
}


def recorded_log() -> list[Entry]:
    """The log."""
    lines = (FOLDER / "log.jsonl").read_text("utf-8").splitlines()
    stored = [json.loads(line) for line in lines]
    return [decode(Cursor.parse(cursor), value.encode()) for cursor, value in stored]


def rendered(dialect: Dialect, entries: Iterable[Entry]) -> Rendering:
    """A log on a wire."""
    rendering = Rendering(dialect.make)
    for entry in entries:
        rendering.add(entry)
    return rendering


def response_object(entries: Iterable[Entry]) -> dict[str, Any]:
    """A log as the polled response."""
    fold = responses.ResponseFold(REQUEST_ID)
    for entry in entries:
        fold.feed(entry)
    return fold.object()


def _stream(name: str) -> Callable[[], bytes]:
    return lambda: b"".join(rendered(DIALECTS[name], recorded_log()).frames)


def _object(rendered_object: Callable[[], dict[str, Any]]) -> Callable[[], bytes]:
    return lambda: json.dumps(rendered_object(), indent=2, ensure_ascii=False).encode() + b"\n"


GOLDEN: dict[str, Callable[[], bytes]] = {
    **{f"{name}.stream": _stream(name) for name in DIALECTS},
    "chat_completions.json": _object(
        lambda: chat_completions.completion(REQUEST_ID, recorded_log())
    ),
    "responses.json": _object(lambda: response_object(recorded_log())),
}


if __name__ == "__main__":
    for file_name, make in GOLDEN.items():
        (FOLDER / file_name).write_bytes(make())
