"""A worker's surroundings without a network: all answers of broker and upstream are scripted.

For replies that a real server sends rarely, at an exact call. The story of a request against
real servers is tests/worker/test_story.py.
"""

import asyncio
import random
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Hashable, Sequence
from typing import Any, NamedTuple

from tests.support.keyspace import KEYS
from tests.support.script import Cut, Pause, Script, Wait, bytes_of
from tickertape.broker.appender import Appended, Appender, Target
from tickertape.broker.codec import START, Entry
from tickertape.broker.conversations import Conversations
from tickertape.broker.kinds import AppendOutcome, Policy
from tickertape.broker.leases import Lease, Nothing
from tickertape.broker.log import Logs
from tickertape.broker.looks import Look, Looks
from tickertape.broker.marks import Checkpoint, Marks
from tickertape.broker.queue import Gap, Queue
from tickertape.broker.turns import Turn
from tickertape.worker.functions.definition import Function
from tickertape.worker.prompt import Bounds
from tickertape.worker.tools import JobTiming, Tools
from tickertape.worker.upstream.answer_stream import AnswerStream, Limits
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.profiles import Profile
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.roster import UpstreamTable

WITHOUT_PAUSES = JobTiming(unavailable_pause_s=0, stop_function_s=0.01)
REQUEST_ID = "r0_" + "a" * 26
QUESTION = {"role": "user", "content": "why?"}


def lease(**changes: Any) -> Lease:
    """A first attempt at a request of one message."""
    payload = {"messages": [QUESTION], "params": {}, **changes.pop("payload", {})}
    fields = {"request_id": REQUEST_ID, "attempt": 1000, "n": 1, "opener": "started", **changes}
    return Lease(payload=payload, prev=START, **fields)


class VerbCall(NamedTuple):
    """One call of a verb of the queue."""

    verb: str
    details: dict[str, Any]


class ScriptedQueue(Queue):
    """Answers each verb with the replies that `will` queued for it; `calls` records the calls.

    An exception is raised, a function is awaited, all else returned. Without a queued reply: no
    request to claim, and consent to everything else.
    """

    def __init__(self) -> None:
        self.calls: list[VerbCall] = []
        self._answers: defaultdict[str, deque[Any]] = defaultdict(deque)

    def will(self, verb: str, *answers: Any) -> None:
        """Queue replies for a verb."""
        self._answers[verb] += answers

    def all(self, verb: str) -> list[dict[str, Any]]:
        """The arguments of all calls of a verb."""
        return [call.details for call in self.calls if call.verb == verb]

    @property
    def verbs(self) -> list[str]:
        """The verbs in the order in which they were called."""
        return [call.verb for call in self.calls]

    async def claim(
        self,
        partition: int,
        nonce: str,
        *,
        take: bool = True,
        suspect_ok: bool = True,
        can_continue: bool = False,
        stays_idle: bool = True,
        reachable_ms: int = 0,
    ) -> Lease | Nothing:
        details = {
            "partition": partition,
            "take": take,
            "suspect_ok": suspect_ok,
            "can_continue": can_continue,
            "stays_idle": stays_idle,
            "reachable_ms": reachable_ms,
        }
        answer = await self._answer("claim", nonce=nonce, **details)
        return Nothing(None) if answer is None else answer

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        return await self._answer("renew", leases=list(leases)) or []

    async def reopen(
        self, lease: Lease, nonce: str, reason: str, *, can_continue: bool = False
    ) -> Lease | None:
        details = {"reason": reason, "can_continue": can_continue}
        return await self._answer("reopen", lease=lease, nonce=nonce, **details)  # type: ignore[no-any-return]  # scripted

    async def retry(
        self,
        lease: Lease,
        delay_ms: int,
        reason: str,
        usage: dict[str, Any] | None = None,
        *,
        counts: bool = True,
    ) -> None:
        details = {"delay_ms": delay_ms, "reason": reason, "usage": usage, "counts": counts}
        await self._answer("retry", lease=lease, **details)

    async def release(self, lease: Lease) -> None:
        await self._answer("release", lease=lease)

    async def finish(
        self,
        lease: Lease,
        state: str,
        first_seq: int,
        values: list[bytes],
        *,
        usage: dict[str, Any] | None = None,
        answered: str | None = None,
        called: dict[str, Any] | None = None,
    ) -> Gap | None:
        return await self._answer(  # type: ignore[no-any-return]  # scripted
            "finish",
            lease=lease,
            state=state,
            first_seq=first_seq,
            values=values,
            usage=usage,
            answered=answered,
            called=called,
        )

    async def account(self, lease: Lease, usage: dict[str, Any]) -> None:
        await self._answer("account", lease=lease, usage=usage)

    async def _answer(self, verb: str, **details: Any) -> Any:
        self.calls.append(VerbCall(verb, details))
        answers = self._answers[verb]
        answer = answers.popleft() if answers else None
        if isinstance(answer, Exception):
            raise answer
        return await answer() if callable(answer) else answer


class ScriptedLooks(Looks):
    """Each look returns, or raises, the next of `found`; without one, the partition is empty."""

    def __init__(self, *found: Look | Exception) -> None:
        self.found = deque(found)
        self.looked_at: list[int] = []
        self.is_any_waiting = False

    def node_of(self, partition: int) -> Hashable:
        return "the server"

    async def look(self, partition: int) -> Look:
        self.looked_at.append(partition)
        found = self.found.popleft() if self.found else Look()
        if isinstance(found, Exception):
            raise found
        return found

    async def has_waiting(self, partitions: int) -> bool:
        return self.is_any_waiting


class Append(NamedTuple):
    """One call of an appender."""

    first_seq: int
    values: list[bytes]
    on_answer: Callable[[Appended], None]

    def answer(self, word: AppendOutcome, seq: int = -1) -> None:
        """Let Redis answer."""
        self.on_answer(Appended(word, seq))


class ScriptedAppender(Appender):
    """Keeps each call for the test to answer, or gives all of them the same answer at once.

    `answers` makes the answer to (first seq, values); `connected` is what `ready` waits for;
    with `is_away` there is nowhere to send to.
    """

    def __init__(self, answers: Callable[[int, list[bytes]], Appended] | None = None) -> None:
        self.calls: list[Append] = []
        self.connected = asyncio.Event()
        self.is_away = False
        self._answers = answers
        self._keys = KEYS

    @property
    def is_ready(self) -> bool:
        return not self.is_away

    async def ready(self, to: Target | None = None) -> None:
        del to
        await self.connected.wait()

    def append(
        self,
        to: Target,
        first_seq: int,
        values: Any,
        on_answer: Callable[[Appended], None],
    ) -> None:
        self.calls.append(Append(first_seq, list(values), on_answer))
        if self._answers is not None:
            answer = self._answers(first_seq, list(values))
            asyncio.get_running_loop().call_soon(on_answer, answer)


def accepting(first_seq: int, values: list[bytes]) -> Appended:
    """The reply of a healthy Redis."""
    return Appended("OK", first_seq + len(values) - 1)


class ScriptedBody:
    """The bytes of a script, in which only Wait, Pause and Cut are more than bytes."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.is_closed = False

    async def aiter_bytes(self) -> AsyncGenerator[bytes, None]:
        for step in self._script:
            if isinstance(step, Wait):
                await step.gate.wait()
            elif isinstance(step, Pause):
                await asyncio.sleep(step.pause_s)
            elif isinstance(step, Cut):
                raise ConnectionError
            else:
                yield bytes_of(step)

    async def aclose(self) -> None:
        self.is_closed = True


class OfflineUpstream(Upstream):
    """Plays one script for each call, or raises the exception in its place.

    `payloads` are the requests, `bodies` the answers.
    """

    def __init__(self, *scripts: Script | Exception, can_continue: bool = False) -> None:
        super().__init__()
        self.profile = Profile("scripted", can_continue=can_continue)
        self.payloads: list[dict[str, Any]] = []
        self.bodies: list[ScriptedBody] = []
        self._scripts = deque(scripts)

    def stream(
        self,
        payload: dict[str, Any],
        tally: Tally,
        limits: Limits | None = None,
        *,
        request_id: str = "",
    ) -> AnswerStream:
        self.payloads.append(payload)
        script = self._scripts.popleft()

        async def open_body() -> ScriptedBody:
            if isinstance(script, Exception):
                raise script
            self.bodies.append(ScriptedBody(script))
            return self.bodies[-1]

        reader = ChunkReader(tally, request_id=request_id)
        return AnswerStream(open_body, reader, limits or Limits())


class ScriptedLogs(Logs):
    """One log."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    async def entries(self, request_id: str) -> list[Entry]:
        return self._entries


class ScriptedMarks(Marks):
    """Keeps what is marked; `found` is the checkpoint of an earlier attempt."""

    def __init__(self, found: Checkpoint | None = None) -> None:
        self.found = found
        self.marked: list[tuple[str, int, bytes]] = []

    async def mark(
        self, lease: Lease, policy: Policy, *, at: int = 0, checkpoint: bytes = b""
    ) -> None:
        self.marked.append((policy, at, checkpoint))

    async def checkpoint(self, request_id: str) -> Checkpoint | None:
        return self.found


class ScriptedConversations(Conversations):
    """One conversation."""

    def __init__(self, turns: list[Turn]) -> None:
        self._turns = turns

    async def turns(self, partition: int, key: str) -> list[Turn]:
        return self._turns

    async def newest_turns(self, partition: int, key: str, request_id: str) -> list[Turn]:
        return self._turns


class Impatient(random.Random):
    """A random source that picks the shortest delay."""

    def uniform(self, a: float, b: float) -> float:
        return a


def tools(
    upstream: Upstream | UpstreamTable,
    queue: Queue | None = None,
    appender: Appender | None = None,
    *,
    kept: list[Entry] | None = None,
    turns: list[Turn] | None = None,
    looks: Looks | None = None,
    marks: Marks | None = None,
    timing: JobTiming = WITHOUT_PAUSES,
    limits: Limits | None = None,
    functions: Sequence[Function] = (),
) -> Tools:
    """The tools of a job; by default Redis answers normally, and a repeat waits for nothing."""
    return Tools(
        queue=queue or ScriptedQueue(),
        looks=looks or ScriptedLooks(),
        marks=marks or ScriptedMarks(),
        appender=appender or ScriptedAppender(accepting),
        upstream=upstream,
        logs=ScriptedLogs(kept or []),
        conversations=ScriptedConversations(turns or []),
        limits=limits or Limits(),
        bounds=Bounds(memory_bytes=1_000_000, context_tokens=100_000),
        rng=Impatient(),
        timing=timing,
        functions={each.name: each for each in functions},
    )


async def until(happened: Callable[[], object], turns: int = 200) -> None:
    """Yield to the event loop until the condition holds: nothing here needs time, only turns."""
    for _ in range(turns):
        if happened():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")
