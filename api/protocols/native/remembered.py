"""Pure: a turn whose log has expired, as the conversation remembers it."""

from tickertape.api.fanout.wire import Frame
from tickertape.api.protocols.native.wire import NativeWire
from tickertape.broker.turns import Turn
from tickertape.runtime.json_types import JsonObject


def remembered_frames(turn: Turn, wire: NativeWire, place: JsonObject) -> list[Frame]:
    """The messages of a turn and its answer, or `gone` without one. `place` is its parent."""
    frames: list[Frame] = [wire.notice("queued", {"messages": turn.asked} | place)]
    if turn.answered is None:
        return [*frames, wire.notice("gone", {})]
    end: JsonObject = {"text": turn.answered, "status": turn.status, "n": 1}
    end |= {"tool_calls": turn.calls} if turn.calls else {}
    return [*frames, wire.notice("snapshot", end)]
