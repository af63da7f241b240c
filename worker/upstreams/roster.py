"""All upstreams of the table: which of them a request may go to, and when."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Self

import structlog

from tickertape.broker.leases import Attached
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import AtOwnLimit, NoModelList, UpstreamError
from tickertape.worker.upstream.keeping import Keeping
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.answer import TableAnswer
from tickertape.worker.upstreams.breaker import TIMING, Breaker, BreakerTiming
from tickertape.worker.upstreams.choice import ranked
from tickertape.worker.upstreams.kept import KeptAnswer
from tickertape.worker.upstreams.members import Member, speak_of_row
from tickertape.worker.upstreams.reading import KeyedRow
from tickertape.worker.upstreams.room import Admitted, Place, Turnstile

log = structlog.get_logger()

# A shorter wait for an upstream at its limits is in the worker, a longer one in the queue.
_PATIENCE_S = 2.0
_BUSY_PAUSE_S = 1.0
# API processes get the names every two seconds.
_MOST_REPORTED = 1000


class UpstreamTable:
    """The upstreams of a worker: an async context manager.

    `model` is for requests without a model. `turnstile` is needed if a row has limits per minute.
    `keeping` has the names of the rows whose upstreams keep their answers.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        rng: random.Random,
        model: str | None = None,
        turnstile: Turnstile | None = None,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self.members = tuple(members)
        self.model = model
        self._rng = rng
        self._turnstile = turnstile
        self._clock = clock
        self.patience_s = patience_s
        self._freed = asyncio.Event()
        self._clients = contextlib.AsyncExitStack()
        self._later: set[asyncio.Task[None]] = set()
        self._faults: dict[str, str] = {}
        self.keeping = tuple(each.row.name for each in members if each.keeping is not None)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as clients:
            for member in self.members:
                await clients.enter_async_context(member.upstream)
            self._clients = clients.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        await self._clients.aclose()

    @property
    def continues(self) -> bool:
        """Whether any of the upstreams continues partial answers."""
        return any(member.upstream.continues for member in self.members)

    def member(self, name: str) -> Member | None:
        """The upstream of a row."""
        return next((each for each in self.members if each.row.name == name), None)

    def keeping_of(self, at: Attached) -> Keeping | None:
        """How to reach an answer that an upstream keeps; None if that upstream keeps none here."""
        member = self.member(at.upstream)
        return None if member is None else member.keeping

    @property
    def problem(self) -> str | None:
        """The upstreams that cannot be used at the moment; None if all can."""
        refused = {each.row.name for each in self.members if each.problem}
        if not (names := sorted(refused | self._faults.keys())):
            return None
        return f"Upstreams of the table that cannot be used: {', '.join(names)}. The log says why."

    @property
    def only_models(self) -> tuple[str, ...] | None:
        """The models of all rows; None if a row does not name its models, or they are too many."""
        if any(member.may_serve_others for member in self.members):
            return None
        names = tuple(dict.fromkeys(name for each in self.members for name in each.row.names))
        return names if len(names) <= _MOST_REPORTED else None

    def serving(self, model: str | None) -> list[Member]:
        """The upstreams that requests for a model may go to.

        A model that nobody lists goes to those whose rows do not say what they serve.
        """
        wanted = model or self.model
        known = [member for member in self.members if member.serves(wanted)]
        return known or [member for member in self.members if member.may_serve_others]

    def able(self, body: dict[str, Any], tally: Tally) -> list[Member]:
        """The upstreams that can answer a request, or go on from the output in `tally`."""
        serving = self.serving(body.get("model"))
        if not tally.has_output:
            return serving
        return [each for each in serving if each.upstream.can_continue(body, tally)]

    def in_order(self, able: Sequence[Member], tried: Collection[str]) -> list[Member]:
        """These upstreams, the one to call first at the front."""
        return ranked(able, tried, self._rng)

    def named(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with a model, if the request or this server names one."""
        return body if body.get("model") or not self.model else {**body, "model": self.model}

    async def admit(self, members: Sequence[Member], tokens: Callable[[Member], int]) -> Admitted:
        """The first of the members that has room for a call. Waits for a short time if none has.

        `tokens` estimates what the call will use. Raises AtOwnLimit, with the time until there may
        be room. A place that is cancelled while Redis answers is free again after a minute.
        """
        give_up_at = self._clock() + self.patience_s
        while True:
            freed = self._freed
            pause_s = _BUSY_PAUSE_S if any(each.is_full for each in members) else float("inf")
            for member in members:
                found = await self._enter(member, tokens)
                if isinstance(found, Admitted):
                    return found
                pause_s = min(pause_s, found)
            if self._clock() + pause_s > give_up_at:
                raise AtOwnLimit(retry_after_s=pause_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await freed.wait()

    async def _enter(self, member: Member, tokens: Callable[[Member], int]) -> Admitted | float:
        """A place at a member, or the time until it may have one."""
        if member.is_full:
            return _BUSY_PAUSE_S
        place: Place | float | None = None
        if member.row.is_limited and self._turnstile is not None:
            if (wait_s := member.full_until_s - self._clock()) > 0:
                return wait_s
            # A limit of calls at a time must hold while Redis answers.
            member.running += 1
            try:
                place = await self._turnstile.enter(member.row, tokens(member))
            finally:
                member.running -= 1
        if isinstance(place, float):
            member.full_until_s = self._clock() + place
            member.outcomes["limited"] += 1
            return place
        member.began()
        return Admitted(member, place)

    def leave(self, admitted: Admitted, tokens: int) -> None:
        """Give a member's room back after a call that used so many tokens."""
        admitted.member.running -= 1
        self._freed.set()
        self._freed = asyncio.Event()
        if admitted.place is not None:
            self.do_later(admitted.place.settle(tokens))

    def end_answer(self, at: Attached) -> None:
        """Have an upstream end an answer that it keeps and that nobody will read."""
        if (keeping := self.keeping_of(at)) is not None:
            self.do_later(_end(keeping, at.id))

    def do_later(self, call: Coroutine[Any, Any, None]) -> None:
        """Make a call beside the answers; it is cancelled when the worker ends."""
        task = asyncio.create_task(call, name="call beside an answer")
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def stream(
        self,
        payload: dict[str, Any],
        tally: Tally,
        limits: Limits | None = None,
        *,
        request_id: str = "",
        tried: set[str] | None = None,
        kept: KeptAnswer | None = None,
    ) -> TableAnswer:
        """The answer of the first upstream that gives one; `tried` gets the names of the others.

        `kept` is the answer that an upstream keeps of an earlier attempt, if one does.
        """
        named, shared = self.named(payload), set() if tried is None else tried
        return TableAnswer(self, named, tally, limits or Limits(), request_id, shared, kept)

    async def list_models(self) -> list[dict[str, Any]]:
        """The models of all upstreams, each once. Raises UpstreamError if none of them answers."""
        found = await asyncio.gather(*map(self._list, self.members))
        errors = [each for each in found if isinstance(each, UpstreamError)]
        if len(errors) == len(self.members):
            # One without a list may answer all the same.
            raise next((each for each in errors if isinstance(each, NoModelList)), errors[0])
        models: dict[str, dict[str, Any]] = {}
        for member, each in zip(self.members, found, strict=True):
            for model in member.declared() if isinstance(each, UpstreamError) else each:
                models.setdefault(str(model["id"]), model)
        return list(models.values())

    async def _list(self, member: Member) -> list[dict[str, Any]] | UpstreamError:
        name = member.row.name
        try:
            models = await member.list_models()
        except UpstreamError as error:
            speak_of_row(error)
            if self._faults.get(name) != error.message:
                said = {"reason": error.message, "upstream_said": error.detail}
                log.warning("models of an upstream not listed", upstream=name, **said)
            self._faults[name] = error.message
            return error
        if self._faults.pop(name, None) is not None:
            log.info("models of an upstream listed", upstream=name, count=len(models))
        return models

    async def has_chat(self) -> bool:
        """Whether any of the upstreams knows the path of chat completions."""
        return any(await asyncio.gather(*(each.upstream.has_chat() for each in self.members)))


async def _end(keeping: Keeping, kept_id: str) -> None:
    # The upstream may have ended the answer by itself, and otherwise does so in time.
    with contextlib.suppress(UpstreamError):
        await keeping.end(kept_id)


def build_table(
    rows: Sequence[KeyedRow],
    rng: random.Random,
    *,
    model: str | None = None,
    turnstile: Turnstile | None = None,
    timing: BreakerTiming = TIMING,
    clock: Callable[[], float] = time.monotonic,
) -> UpstreamTable:
    """The upstreams of these rows; nothing is called before the table is entered."""
    members = [
        Member(
            each,
            Upstream(
                each.row.base_url, each.key, model=each.row.own_name(None), profile=each.row.profile
            ),
            Breaker(clock, timing),
        )
        for each in rows
    ]
    return UpstreamTable(members, rng=rng, model=model, turnstile=turnstile, clock=clock)
