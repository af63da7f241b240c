"""A call or its reply is lost. The call is repeated, and the script has run once."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker.invariants import violations
from tests.broker.snapshot import Snapshot, take_snapshot
from tests.support.keyspace import KEYS
from tests.support.proxy import FaultProxy
from tests.support.rig import Rig
from tests.support.servers import ValkeyServer
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.broker.access import AccessRecords, KeyRecord, member_of_ticket
from tickertape.broker.agreement import Agreement, settings_of_api
from tickertape.broker.compaction import Compaction
from tickertape.broker.connections import Connections
from tickertape.broker.conversations import Conversations
from tickertape.broker.counts import Counts
from tickertape.broker.exchanges import Exchanges
from tickertape.broker.leases import Attached, Lease
from tickertape.broker.lua import NAMES, source
from tickertape.broker.marks import Marks
from tickertape.broker.model_titles import ModelTitles
from tickertape.broker.outbox import Fate, Outbox
from tickertape.broker.queue import Queue
from tickertape.broker.rates import RateLimit
from tickertape.broker.repartition import Repartition
from tickertape.broker.requests import Requests
from tickertape.broker.seats import SeatLimits, Seats, home_of
from tickertape.broker.settlements import Settlements
from tickertape.broker.submission import Submission
from tickertape.broker.upstream_limits import PerMinute, UpstreamLimits
from tickertape.broker.watchers import WatcherCounts
from tickertape.broker.work_check import WorkCheck
from tickertape.runtime.settings import Settings

SETTINGS = Settings(retention_s=600)
READS_ONLY = {"lines", "look", "position", "probe", "may_rewrite", "rows", "states"}


class Story(Rig):
    """Calls every script, each with an effect."""

    async def run(self) -> str:
        """Call every script; returns the id of the request that all of them changed."""
        request_id = await self.submit(idempotency_key="k", conversation_id="c")
        held = await self.submit(conversation_id="c")
        await self.claim()
        await self.type("a", "b")
        assert self.lease is not None
        await self.queue.renew([self.lease])
        await self.reopen()
        await self.type("c")
        await self.queue.account(self.lease, {"completion_tokens": 1})
        await Marks(self.connections).mark(self.lease, "restart", at=1, checkpoint=b"1")
        await Marks(self.connections).attach(self.lease, Attached("a", "resp_1"))
        await self.queue.release(self.lease)
        await self.claim()
        await self.queue.retry(self.lease, 1, "later")
        await self._due(request_id)
        await self.type(*"d" * 16)
        await self.finish("d" * 16)
        await self.requests.cancel(held, "public")
        exchanges = Exchanges(self.connections)
        for each in (held, request_id):
            await exchanges.follow(each, "public", [], "", retention_s=60)
        await self.requests.erase(held, "public")
        await self._change_conversation(request_id)
        other = await self.submit(conversation_id="other")
        assert await self.requests.position(other, "public") == 0
        await Conversations(self.connections, self.settings).forget("public", "other")
        await Agreement(self.connections, settings_of_api(self.settings)).start()
        await self._keep_house(request_id)
        await self._let_in()
        await self._ask_a_function()
        upstreams = UpstreamLimits(self.connections)
        assert await upstreams.enter("a", "call", PerMinute(9, 9), 5) is None
        await upstreams.leave("a", "call", 7)
        assert await WorkCheck(self.connections).conditions() == []
        await self._hand_on()
        await self._grow()
        return request_id

    async def _hand_on(self) -> None:
        """Hand on a request that has ended, as a webhook that is sent again and then given up."""
        settings = self.settings.model_copy(update={"webhooks": Path("webhooks.toml")})
        requests = Requests(self.connections, settings)
        outbox = Outbox(self.connections, owner="d")
        submitted = await requests.submit(Submission("public", {}))
        await requests.cancel(submitted.request_id, "public")
        collected = await outbox.collect(0, "webhooks")
        assert collected is not None
        (ended,) = collected.ended
        await outbox.hand(0, "webhooks", [Fate(ended.entry, b"", ended.request_id, b"first", 0)])
        collected = await outbox.collect(0, "webhooks")
        assert collected is not None
        assert collected.due == [b"first"]
        await outbox.hand(0, "webhooks", [Fate("", b"first", ended.request_id, b"second")])
        (given_up,) = await outbox.given_up(0)
        await outbox.take_off(given_up, b"third")
        assert (await outbox.backlog(0, "webhooks")).due_again == 1

    async def _ask_a_function(self) -> None:
        """Claim and give back the request of a function twice."""
        await self.submit(pool="agent")
        queue = Queue(self.connections, self.settings, worker="w", pools=("", "agent"))
        for nonce in ("function 1", "function 2"):
            lease = await queue.claim(0, nonce)
            assert isinstance(lease, Lease)
            await queue.release(lease)

    async def _let_in(self) -> None:
        """Add and revoke a key and a ticket."""
        access = AccessRecords(self.connections)
        await access.add("digest", KeyRecord(key_id="1", tenant="t", scopes=(), created_ms=1))
        await access.move("1", "digest", "another digest")
        assert await access.revoke("1")
        await access.revoke_tickets(member_of_ticket("1"), 2**45)

    async def _grow(self) -> None:
        """Change the partitions, which makes a tenant's requests counted over all of them."""
        await self.connections.partitions.agree(1)
        two = await Repartition(self.connections).change(2, lambda _: None, announce_s=0)
        seats, request_id = Seats(self.connections), "r1_aaaaaaaaaaaaaaaaaaaaaaaaaa"
        assert (await seats.take(two, "public", request_id, SeatLimits(9))).limit == 9
        await seats.give_back(two, "public", request_id, SeatLimits(9))
        await self._settle()

    async def _settle(self) -> None:
        """End a request whose tenant is counted in the other partition."""
        limit = RateLimit("tokens", "public", 1000, 60_000, 10, 1, 1)
        away = 1 - home_of(self.connections.partitions.map, "public")
        submission = Submission(tenant="public", payload={}, rates=(limit,))
        request_id = f"r{away}_bbbbbbbbbbbbbbbbbbbbbbbbbb"
        await self.requests.submit(submission, request_id)
        await self.requests.cancel(request_id, "public")
        assert await Settlements(self.connections).settle(away) == 1

    async def _keep_house(self, request_id: str) -> None:
        compaction = Compaction(self.connections)
        # A list whose reply was lost is due again later.
        assert await compaction.due(0, after_s=0, limit=9) in ([request_id], [])
        assert await compaction.compact(0, request_id) in {"OK", "DUP"}
        await Counts(self.connections, self.settings).recount(0)
        place = (0, "k")
        watchers = WatcherCounts(self.connections, "api")
        assert await watchers.exchange({place: 1}, [place], valid_s=60) == {place: 0}

    async def _change_conversation(self, request_id: str) -> None:
        """Give a conversation titles, and erase a turn whose request has expired."""
        lease = self.lease
        assert lease is not None
        titles = ModelTitles(self.connections)
        claim = await titles.claim(request_id, lease.conversation)
        assert claim is not None
        assert await titles.give(claim, "A title of the model")
        conversations = Conversations(self.connections, self.settings)
        await conversations.rename("public", "c", "A title")
        await conversations.retain("public", "c", 600)
        expired = await self.submit(conversation_id="c")
        await self.requests.cancel(expired, "public")
        await self.connections.ask("DEL", KEYS.request(expired), KEYS.log(expired))
        await conversations.erase_turn("public", "c", expired)

    async def _due(self, request_id: str) -> None:
        await self.connections.ask("ZADD", KEYS.delayed(0), 1, request_id)
        assert await self.claim() == request_id


@pytest.fixture
async def proxy(redis_server: ValkeyServer, redis_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(redis_server.port) as running:
        yield running


async def run_story(url: str) -> str:
    """Run the story on the shared line, as the programs do."""
    story = Story(url, SETTINGS)
    await story.connections.check_server()
    try:
        async with running(story.connections.run_lines()):
            line = story.connections.line
            await wait_until(lambda: line is not None and line.is_open, description="the line")
            return await story.run()
    finally:
        await story.aclose()


_EXPECTED: dict[str, Any] = {}


async def expected_outcome(url: str) -> dict[str, Any]:
    """What the story leaves where no call is lost: the same each time, so it is run once."""
    if not _EXPECTED:
        _EXPECTED.update(await outcome(url, await run_story(url)))
        connections = Connections(url)
        await connections.ask("FLUSHALL")
        await connections.aclose()
    return _EXPECTED


async def outcome(url: str, request_id: str) -> dict[str, Any]:
    """The state that the story left in Redis, without times and random names."""
    connections = Connections(url)
    try:
        snapshot = await take_snapshot(connections.commands)
    finally:
        await connections.aclose()
    assert violations(snapshot) == []
    return _summary(snapshot, request_id)


def _summary(snapshot: Snapshot, request_id: str) -> dict[str, Any]:
    stored = snapshot.hash(f"req:{request_id}")
    facts = ("state", "n", "seq", "crashes", "retries", "output_bytes")
    return {
        "log": [fields["e"][0] for _, fields in snapshot.list(f"log:{request_id}")],
        "conversations": [
            (stored["title"], stored["title_by"], stored["turns"])
            for name, stored in snapshot.named("conv:")
            if ":" not in name
        ],
        "turns": [
            sorted(fields)
            for name, rows in snapshot.named("conv:")
            if name.endswith(":turns")
            for _, fields in rows
        ],
        "facts": {name: stored[name] for name in facts},
        "accounted": sum(name.startswith("usage:") for name in stored),
        "load": (snapshot.hash("load")["count"], snapshot.hash("load")["bytes"]),
        "minute": sorted(snapshot.hash("minute:a").values()),
        "keys": sorted(name.partition(":")[0] for name in snapshot.keys if "claim" not in name),
    }


@pytest.mark.parametrize("fate", ["request", "reply"])
@pytest.mark.parametrize("name", sorted({*NAMES} - READS_ONLY))
async def test_a_script_that_has_to_be_called_twice_has_been_run_once(
    proxy: FaultProxy, redis_server: ValkeyServer, redis_url: str, name: str, fate: str
) -> None:
    expected = await expected_outcome(redis_url)
    lose = proxy.lose_request if fate == "request" else proxy.lose_reply_to
    lost = lose(hashlib.sha1(source(name).encode()).hexdigest().encode())
    proxied = redis_url.replace(f":{redis_server.port}/", f":{proxy.port}/")
    request_id = await run_story(proxied)
    assert lost.is_set(), f"{name} was never called"
    assert await outcome(redis_url, request_id) == expected


async def test_a_claim_whose_reply_never_came_is_found_again_by_its_nonce(redis_url: str) -> None:
    connections = Connections(redis_url)
    try:
        requests = Requests(connections, SETTINGS)
        submission = Submission("public", {"messages": [], "params": {}})
        request_id = (await requests.submit(submission)).request_id
        queue = Queue(connections, SETTINGS, worker="w")
        leases = [await queue.claim(0, "nonce") for _ in range(3)]
        assert [lease.request_id for lease in leases if isinstance(lease, Lease)] == [
            request_id
        ] * 3
        assert len({lease.attempt for lease in leases if isinstance(lease, Lease)}) == 1
    finally:
        await connections.aclose()


async def test_of_many_workers_that_claim_at_once_one_gets_each_request(redis_url: str) -> None:
    connections = Connections(redis_url)
    try:
        requests = Requests(connections, SETTINGS)
        submission = Submission("public", {"messages": [], "params": {}})
        ids = {(await requests.submit(submission)).request_id for _ in range(10)}
        queues = [Queue(connections, SETTINGS, worker=f"w{n}") for n in range(40)]
        got = await asyncio.gather(*(q.claim(0, f"nonce {n}") for n, q in enumerate(queues)))
        claimed = [lease.request_id for lease in got if isinstance(lease, Lease)]
        assert sorted(claimed) == sorted(ids)
    finally:
        await connections.aclose()
