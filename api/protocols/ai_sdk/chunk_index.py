"""Pure: where a stream starts whose client resumes by the number of its chunks.

`WorkflowChatTransport` counts the chunks that it got, without `[DONE]`, and asks for those that
follow until it gets a `finish`. It asks at once and without end, so every answer to it has a
`finish`, or is none that it reads.
"""

from dataclasses import dataclass

from tickertape.api.edge.problems import Problem
from tickertape.api.fanout.frames import Frames
from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.streams import Start
from tickertape.api.fanout.tape import Tape
from tickertape.api.protocols.ai_sdk.wire import ABORT, DONE, FINISH, RESET_STEP, START_STEP
from tickertape.api.protocols.numbered_events import count_events, events_of, skip_events

TAIL_INDEX = "x-workflow-stream-tail-index"


@dataclass(frozen=True)
class AtChunk:
    """Locates the chunk of an index, for a client that has those before it.

    A negative index counts from the end, and a client can show nothing of a block whose beginning
    it lacks. The stream then starts at the beginning of the message, and the header with the index
    of the last chunk is such that the client arrives there as well.
    """

    index: int

    def __call__(self, tape: Tape, rendering: Rendering, *, is_current: bool) -> Start | None:
        """Where to start, see Locate; raises Problem if the answer has no such chunk."""
        del tape
        frames = rendering.frames
        count = _chunks_in(frames)
        following = skip_events(frames, max(0, self.index)) if self.index <= count else None
        if following is None:
            if not is_current:
                return None
            message = f"startIndex: the answer has only {count} chunks"
            raise Problem(400, "invalid_value", message, param="startIndex")
        position, rest = following
        if rest == DONE:
            # The client has everything, and did not take it for the end.
            if events_of(frames[-1])[-2:] != [ABORT, DONE]:
                return Start(is_needless=True)
            rest = FINISH + DONE
        last = min(count, -self.index) if self.index < 0 else count
        return Start(position, rest, headers={TAIL_INDEX: str(last - 1)})


@dataclass(frozen=True)
class Again:
    """Locates the beginning of an answer for a client that has `count` chunks of its chat.

    They may be of this answer or of one before it. `start` makes the client begin another message
    if its id is new, and `reset-step` takes back what the client has if the message is the same.
    """

    count: int

    def __call__(self, tape: Tape, rendering: Rendering, *, is_current: bool) -> Start | None:
        """Where to start; see Locate."""
        del tape
        frames = rendering.frames
        count = _chunks_in(frames)
        if self.count > count and not is_current:
            return None
        opening = events_of(frames.between(0, frames.stop_after(0)))[:2]
        if not opening:
            return Start()
        has_step = 1 < self.count <= count and opening[1:] == [START_STEP]
        following = skip_events(frames, 2 if has_step else 1)
        position, rest = following or (len(frames), b"")
        return Start(position, opening[0] + RESET_STEP + rest)


def _chunks_in(frames: Frames) -> int:
    """How many chunks a client counts in the frames."""
    is_done = len(frames) > 0 and frames[-1].endswith(DONE)
    return count_events(frames) - is_done
