"""What answers requests, as an attempt sees it.

An attempt knows no more of the upstream than this, so that each request can have its own source.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.fold import fold
from tickertape.broker.kinds import OUTPUT, Output
from tickertape.broker.log import Logs
from tickertape.broker.marks import Marks
from tickertape.worker.upstream.answer_stream import AnswerStream, Limits, Take
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.tally import Tally

T = TypeVar("T")


class Origin(NamedTuple):
    """What a trace shows of a source: its kind and name, the model in use, and the address."""

    kind: str
    name: str
    model: str | None = None
    url: str | None = None


class Answer(Protocol):
    """An answer while it is generated: an async context manager.

    Leaving the block, or cancelling the task inside it, ends the generation at once.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    async def deliver(self, take: Take, room: Callable[[], Awaitable[None]]) -> None:
        """Pass the pieces to `take` as they arrive, until the answer is complete.

        `take` must not wait. If it returns false, no more pieces are passed until `room` returns.
        Raises UpstreamError, SourceFailed or TooLong after the pieces of an answer that is not
        complete.
        """
        ...


class Written(Protocol):
    """What a source may know of the entries that its attempt writes (worker/log_writer.py)."""

    @property
    def first_unacked_seq(self) -> int:
        """The seq after the last entry that Redis has acknowledged."""
        ...

    async def flushed(self) -> None:
        """Return when all entries are in the log, or can no longer be written."""
        ...

    def fenced(self) -> None:
        """Stop the attempt, because Redis has refused to record something for it."""
        ...

    def lost(self) -> None:
        """Stop the attempt, because Redis has lost entries that were acknowledged."""
        ...


class Stored(Protocol):
    """Where the log and the checkpoint of a request are."""

    @property
    def logs(self) -> Logs: ...

    @property
    def marks(self) -> Marks: ...

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call while Redis is away."""
        ...


class Source(Protocol):
    """Answers requests. `body` is that of a chat completion, as worker/prompt.py builds it."""

    async def prepare(self) -> None:
        """Read what the other methods need to know."""
        ...

    def kept(self, entries: list[Entry]) -> Tally:
        """The output of earlier attempts in a log that ends with `resumed`."""
        ...

    @property
    def continues(self) -> bool:
        """Whether this source can continue any partial answer at all."""
        ...

    @property
    def answered_by(self) -> str | None:
        """The name of the upstream that was called, if the source has several."""
        ...

    def has_another(self, body: dict[str, Any], tally: Tally) -> bool:
        """Whether there is another upstream that can answer now, or go on from the output."""
        ...

    def can_continue(self, body: dict[str, Any], tally: Tally) -> bool:
        """Whether `stream` can continue the output in `tally`."""
        ...

    def context_tokens(self, model: str | None) -> int | None:
        """The context of a model in tokens; None if it is not known."""
        ...

    def shown_usage(self, body: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        """The usage as far as the tenant may see it."""
        ...

    def origin(self, body: dict[str, Any]) -> Origin:
        """What a trace shows of this source."""
        ...

    def stream(
        self, body: dict[str, Any], tally: Tally, limits: Limits, *, request_id: str
    ) -> Answer:
        """The answer to `body`, whose pieces are counted in `tally`.

        Continues the output in `tally`, if there is any; check `can_continue` first.
        """
        ...

    @property
    def is_kept(self) -> bool:
        """Whether the upstream keeps the answer, so that another attempt can read on."""
        ...

    def discard(self) -> None:
        """Have the upstream stop, because no attempt will go on with the last answer."""
        ...


def output_until(entries: list[Entry], at: Cursor) -> list[Piece]:
    """The output of a log up to an entry, without what was discarded before that."""
    pieces: list[Piece] = []
    for entry in entries:
        if entry.cursor > at:
            break
        if entry.kind in {"started", "reset"}:
            pieces = []
        elif entry.kind in OUTPUT:
            kind: Output = entry.kind  # type: ignore[assignment]  # narrowed by the set
            pieces.append(Piece(kind, entry.text, entry.data or None, entry.x))
    return pieces


def kept_text(entries: list[Entry]) -> Tally:
    """The text of a log, and whether there was other output, which no upstream continues."""
    answer = fold(entries)
    tally = Tally("".join(answer.text), len(answer.text))
    other_output = answer.refusal or answer.tool_calls or answer.reasoning or answer.x
    tally.has_only_text = not other_output
    return tally


class UpstreamSource:
    """The upstream as a source."""

    answered_by = None
    is_kept = False

    async def prepare(self) -> None:
        """The upstream is known from its list of models."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.can_continue = upstream.can_continue
        self.context_tokens = upstream.context_tokens
        self.shown_usage = upstream.shown_usage

    def kept(self, entries: list[Entry]) -> Tally:
        """The text, and whether there was other output, which no upstream continues."""
        return kept_text(entries)

    @property
    def continues(self) -> bool:
        """Whether the upstream's family continues partial answers."""
        return self._upstream.continues

    def has_another(self, body: dict[str, Any], tally: Tally) -> bool:
        """There is only one."""
        del body, tally
        return False

    def discard(self) -> None:
        """An upstream stops by itself when its connection is closed."""

    def origin(self, body: dict[str, Any]) -> Origin:
        """The family, the model in use and the address."""
        upstream = self._upstream
        model = body.get("model") or upstream.model
        return Origin("upstream", upstream.profile.name, model, upstream.url)

    def stream(
        self, body: dict[str, Any], tally: Tally, limits: Limits, *, request_id: str
    ) -> AnswerStream:
        """The upstream's answer, as Upstream.stream has it."""
        return self._upstream.stream(body, tally, limits, request_id=request_id)
