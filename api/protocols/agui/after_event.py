"""Where a stream starts for a client of AG-UI: behind its last event, or at the start."""

from dataclasses import dataclass

from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.streams import Start
from tickertape.api.fanout.tape import Tape
from tickertape.api.protocols.agui.events import event, run_started, snapshot, state
from tickertape.broker.codec import Cursor


@dataclass(frozen=True)
class AfterEvent:
    """Locates the entry after a cursor; without one, the start of the run.

    A client that joins a run may have a part of the answer already. Therefore a run that is joined
    begins with the messages and the state of the call, which replace those of the client. So does a
    run whose log has not got the cursor, because Redis lost writes. An empty id then makes the
    client forget its cursor and which events it has seen.
    """

    cursor: Cursor | None
    joins: bool

    def __call__(self, tape: Tape, rendering: Rendering, *, is_current: bool) -> Start | None:
        """Where to start; see Locate."""
        if self.cursor is None:
            if not self.joins:
                return Start()
            return _from_start(tape, is_rewound=False) if tape.values or is_current else None
        position = tape.position_after(self.cursor)
        if position is None:
            return _from_start(tape, is_rewound=True) if is_current else None
        if tape.is_over and position == len(tape.values):
            return Start(position, _end_again(rendering))
        return Start(position)


def _end_again(rendering: Rendering) -> bytes:
    """The end of the run, for a client whose connection broke just behind it.

    TanStack AI takes a stream without the end of the run for a failure. The event has no id,
    because the client has seen that.
    """
    *_, end = rendering.frames[-1].removesuffix(b"\n\n").split(b"\n")
    return end + b"\n\n"


def _from_start(tape: Tape, *, is_rewound: bool) -> Start:
    """The begin of the run with the messages of the call, and then the entries after `queued`."""
    queued = next(tape.entries_from(0), None)
    if queued is None or queued.kind != "queued":
        return Start()
    echo = queued.data.get("echo") or {}
    begin = b"" if is_rewound else event(run_started(echo))
    if "state" in echo:
        begin += event(state(echo["state"]))
    restated = snapshot(echo.get("messages", []))
    last = b"id: \n" + event(restated) if is_rewound else event(restated, queued.cursor)
    return Start(1, begin + last)
