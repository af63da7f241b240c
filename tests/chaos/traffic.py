"""The callers of a run: they submit, repeat submits, read, cancel, flood and pry."""

import asyncio
import random
import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.chaos.client import Client
from tests.chaos.functions import ONCE, PAYER
from tests.chaos.history import Accepted, Cancelled, History, Missed, Refusal, Subscriber
from tests.chaos.many_reader import ManyReader
from tests.chaos.readers import Manner, Reader, any_manner
from tests.support.prompted import Plan

_POLICIES = ["restart"] * 7 + ["continue"] * 2 + ["fail"]
_ON_BUSY = ["queue"] * 6 + ["replace"] * 2 + ["reject"]
_CONVERSATIONS = ("c0", "c1")
# The model of a request. The upstream answers most of them, and the others are functions.
_MODELS: list[str | None] = [None] * 8 + [PAYER] * 3 + [ONCE]
_FLOOD = 60
_READ_AGAIN_S = 1.0


@dataclass
class Traffic:
    """All callers of a run; `run` until cancelled, then wait."""

    clients: list[Client]
    history: History
    rng: random.Random
    submits_per_s: float
    serial: int = 0
    readers: set[asyncio.Task[None]] = field(default_factory=set)
    followers: dict[tuple[str, str], asyncio.Task[None]] = field(default_factory=dict)
    many_followers: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    calls: set[asyncio.Task[Any]] = field(default_factory=set)
    _uncertain: set[tuple[Client, "_Submit"]] = field(default_factory=set)
    _submits: dict[str, tuple[Client, "_Submit"]] = field(default_factory=dict)

    async def run(self) -> None:
        """Submit at a rate, until cancelled. Calls under way go on."""
        while True:
            await asyncio.sleep(self.rng.expovariate(self.submits_per_s))
            self._begin(self._one(self.rng.choice(self.clients)))

    async def flood(self) -> None:
        """One tenant submits more than it may."""
        client = self.rng.choice(self.clients)
        for _ in range(_FLOOD):
            plan = Plan(deltas=self.rng.randint(1, 4), marks_calls=True, tag=self._tag(client))
            self._begin(self._submit(client, plan, _Wanted()))

    async def pry(self) -> None:
        """A tenant calls every route with another tenant's request."""
        owner, other = self.rng.sample(self.clients, 2)
        theirs = [a.request_id for a in self.history.accepted if a.tenant == owner.tenant]
        if not theirs:
            return
        path = f"/chat/{self.rng.choice(theirs)}"
        for method, asked in (("GET", path), ("GET", f"{path}/stream"), ("POST", f"{path}/cancel")):
            answer = await other.call(method, asked)
            if answer.status != 404:
                self.history.odd.append(f"{other.tenant} got {answer.status} for {asked}")

    async def submit_again(self, lost: Iterable[str]) -> None:
        """Repeat the submits of lost requests, as docs/guarantees.md advises.

        Also those that were refused after a call without an answer. That call may have been
        executed later, and then this finds out.
        """
        submits = {self._submits[request_id] for request_id in lost} | self._uncertain
        self._uncertain = set()
        for client, submit in sorted(submits, key=lambda each: each[1].key):
            # Another request may have got the key when the first one was lost.
            await self._post(client, replace(submit, is_another=True))

    async def calls_answered(self, patience_s: float) -> None:
        """Wait until every call is answered. No new calls start, but new readers do."""
        if self.calls:
            await asyncio.wait(self.calls, timeout=patience_s)

    async def readers_told(self, patience_s: float) -> None:
        """Wait until every reader has received the end."""
        if self.readers:
            await asyncio.wait(self.readers, timeout=patience_s)

    async def stop(self) -> None:
        """End all readers and callers."""
        followers = [*self.followers.values(), *self.many_followers.values()]
        tasks = [*self.calls, *self.readers, *followers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, client: Client) -> None:
        conversation = self.rng.choice(_CONVERSATIONS) if self.rng.random() < 0.25 else None
        wanted = _Wanted(self.rng.choice(_POLICIES), conversation, self.rng.choice(_MODELS))
        plan = self._plan(client, may_fail=wanted.function is None)
        accepted = await self._submit(client, plan, wanted)
        if accepted is None:
            return
        if conversation is not None:
            self._follow(client, conversation)
            self._follow_many(client)
        for n in range(self.rng.choice([1, 1, 2, 3])):
            self._read(client, accepted, n, any_manner(self.rng))
        if self.rng.random() < 0.2:
            await asyncio.sleep(self.rng.uniform(0, 1.5))
            await self._cancel(client, accepted)

    def _plan(self, client: Client, *, may_fail: bool) -> Plan:
        words = self.rng.randint(8, 60)
        somewhere = self.rng.randint(1, words - 1)
        fault: dict[str, Any] = self.rng.choice(
            [{}] * 12
            + [{"cut_after": somewhere}, {"reset_after": somewhere}, {"cut_after": 0}]
            + [{"status": 429}, {"status": 503}, {"stall_after": somewhere}]
        )
        rate, tag = self.rng.uniform(20, 60), self._tag(client)
        kept = fault if may_fail else {}
        return Plan(deltas=words, rate_per_s=rate, marks_calls=True, tag=tag, **kept)

    def _tag(self, client: Client) -> str:
        self.serial += 1
        return f"{client.tenant}/{self.serial}"

    async def _submit(self, client: Client, plan: Plan, wanted: "_Wanted") -> Accepted | None:
        """Submit once, or several times at once with one key, which is one request."""
        on_busy = self.rng.choice(_ON_BUSY) if wanted.conversation is not None else None
        submit = _Submit(f"key-{plan.tag}", plan, wanted, on_busy)
        times = 3 if self.rng.random() < 0.1 else 1
        found = await asyncio.gather(*(self._post(client, submit) for _ in range(times)))
        accepted = [each for each in found if each is not None]
        if accepted and self.rng.random() < 0.05:
            await self._post_another(client, submit)
        return accepted[0] if accepted else None

    async def _post(self, client: Client, submit: "_Submit") -> Accepted | None:
        asked_s = time.monotonic()
        self.history.first_asked_s.setdefault(submit.plan.tag, asked_s)
        answer = await client.call(
            "POST", "/chat", body=submit.body(), headers={"Idempotency-Key": submit.key}
        )
        if answer.status >= 400 and answer.was_repeated:
            self._uncertain.add((client, submit))
        match answer.status, answer.code:
            case ((200 | 202), _):
                accepted = submit.accepted(client.tenant, answer.body["request_id"], asked_s)
                self.history.accepted.append(accepted)
                self._submits[accepted.request_id] = (client, submit)
                return accepted
            case _, "rate_limit_exceeded" | "queue_full":
                refusal = Refusal(client.tenant, submit.key, answer.status, answer.retry_after)
                self.history.refusals.append(refusal)
            case _, "conversation_busy":
                pass
            case 409, "idempotency_conflict" if submit.is_another:
                pass
            case _:
                self.history.odd.append(f"a submit was answered {answer}")
        return None

    async def _post_another(self, client: Client, submit: "_Submit") -> None:
        """Use a key again with another body, which is accepted only if the first is lost."""
        plan = Plan(deltas=1, marks_calls=True, tag=self._tag(client))
        await self._post(client, replace(submit, plan=plan, is_another=True))

    async def _cancel(self, client: Client, accepted: Accepted) -> None:
        asked_s = time.monotonic()
        answer = await client.call("POST", f"/chat/{accepted.request_id}/cancel")
        if answer.status == 404:
            self.history.missed.append(Missed(accepted.request_id, "a cancel"))
            return
        if answer.status != 200:
            self.history.odd.append(f"a cancel was answered {answer}")
            return
        status = str(answer.body["status"])
        cancelled = Cancelled(accepted.request_id, status, time.monotonic(), asked_s)
        self.history.cancels.append(cancelled)

    def _read(self, client: Client, accepted: Accepted, number: int, manner: Manner) -> None:
        name = f"reader {number} ({manner})"
        subscriber = Subscriber(name, client.tenant, accepted.request_id)
        self.history.subscribers.append(subscriber)
        path = f"/chat/{accepted.request_id}/stream"
        task = asyncio.create_task(Reader(client, subscriber, path, manner).run(), name=name)
        self.readers.add(task)

    def _follow(self, client: Client, conversation: str) -> None:
        if (client.tenant, conversation) in self.followers:
            return
        name = f"follower of {client.tenant}'s {conversation}"
        subscriber = Subscriber(name, client.tenant, conversation=conversation)
        self.history.subscribers.append(subscriber)
        path = f"/conversations/{conversation}/stream"
        manner = Manner(leaves_after=self.rng.choice([None, 50, 150]))
        reader = Reader(client, subscriber, path, manner)
        self.followers[client.tenant, conversation] = asyncio.create_task(reader.run(), name=name)

    def _follow_many(self, client: Client) -> None:
        """All conversations of a tenant over one connection."""
        if client.tenant in self.many_followers:
            return
        name = f"follower of all of {client.tenant}"
        subscribers = {
            conversation: Subscriber(
                f"{name}: {conversation}", client.tenant, conversation=conversation
            )
            for conversation in _CONVERSATIONS
        }
        self.history.subscribers += subscribers.values()
        reader = ManyReader(client, subscribers, Manner(leaves_after=self.rng.choice([50, 150])))
        self.many_followers[client.tenant] = asyncio.create_task(reader.run(), name=name)

    def _begin(self, call: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(call)
        self.calls.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.history.odd.append(f"a caller failed: {error!r}")


@dataclass(frozen=True)
class _Wanted:
    """What a submit asks for beside its prompt."""

    policy: str = "restart"
    conversation: str | None = None
    function: str | None = None


@dataclass(frozen=True)
class _Submit:
    """One submit, which may be sent several times."""

    key: str
    plan: Plan
    wanted: _Wanted
    on_busy: str | None
    is_another: bool = False

    def body(self) -> dict[str, Any]:
        """The body of the call."""
        wanted = self.wanted
        body = {"message": self.plan.prompt(), "on_interruption": wanted.policy}
        if wanted.conversation is not None:
            body |= {"conversation_id": wanted.conversation, "on_busy": str(self.on_busy)}
        if wanted.function is not None:
            body["model"] = wanted.function
        return body

    def accepted(self, tenant: str, request_id: str, asked_s: float) -> Accepted:
        """The record of its acceptance, a moment ago."""
        return Accepted(
            request_id,
            tenant,
            self.key,
            self.plan.tag,
            self.plan.deltas,
            self.wanted.policy,
            self.wanted.conversation,
            asked_s,
            time.monotonic(),
            self.wanted.function,
        )
