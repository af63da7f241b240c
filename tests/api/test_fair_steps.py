"""FairSteps: calls of a tenant that can go on do not come before the step of another tenant."""

import asyncio
import weakref
from functools import partial

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.api.test_auth import ADA, BOB, KEYS
from tests.support.raw import call, raw_connection
from tests.support.running_api import running_api
from tests.support.wait import wait_until
from tickertape.api.edge.auth import Authentication
from tickertape.api.edge.caller import Call, Caller
from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.fanout.steps import in_steps_of
from tickertape.runtime.fair_steps import FairSteps

_STEPS = 5


@pytest.fixture
def fair() -> FairSteps:
    """Steps of two tenants that call."""
    fair = FairSteps()
    for tenant in ("flood", "calm"):
        fair._sharing.note(tenant)
    return fair


async def _step(order: list[str], name: str, steps: int = _STEPS) -> str:
    for _ in range(steps):
        order.append(name)
        await asyncio.sleep(0)
    return name


async def test_a_call_has_its_steps_between_those_of_hundreds_of_calls_of_another_tenant(
    fair: FairSteps,
) -> None:
    order: list[str] = []
    flood = [fair.run("flood", _step(order, "flood")) for _ in range(300)]
    await asyncio.gather(*flood, fair.run("calm", _step(order, "calm")))
    last = len(order) - 1 - order[::-1].index("calm")
    assert order[:last].count("flood") <= 2 * _STEPS
    assert order.count("flood") == 300 * _STEPS


async def test_a_flood_of_calls_of_many_users_does_not_come_before_the_call_of_another_tenant() -> (
    None
):
    order: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await _step(order, scope["state"]["caller"].tenant)

    edge = _edge(app)
    names = ["calm", *(f"flood~{user}" for user in range(100)), "calm"]
    await asyncio.gather(*(_called(edge, name) for name in names))
    last = len(order) - 1 - order[::-1].index("calm")
    assert order[:last].count("flood") <= 2 * _STEPS
    assert order.count("flood") == 100 * _STEPS


def _edge(app: ASGIApp) -> Authentication:
    async def recognize(call: Call) -> Caller:
        tenant, _, user = (call.header(b"authorization") or "").partition("~")
        return Caller(tenant=tenant, user=user)

    return Authentication(
        app,
        forms=ErrorForms({}),
        authenticator=recognize,
        is_public=lambda _: False,
        on_unrecognized=print,
    )


async def _called(edge: Authentication, name: str) -> None:
    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError(message)

    headers = [(b"authorization", name.encode())]
    scope = {"type": "http", "method": "GET", "path": "/chat/x", "headers": headers}
    await edge(scope, receive, send)


def _pausing(*, under_way_s: float) -> FairSteps:
    """Two tenants call, and a crowd pauses until the other one's call is no longer under way."""
    fair = FairSteps(under_way_s, pause=10**9)
    for tenant in ("flood", "calm"):
        fair._sharing.note(tenant)
    return fair


async def test_the_waits_of_a_call_are_not_filled_with_the_steps_of_a_flood() -> None:
    fair, order = _pausing(under_way_s=60), list[str]()

    async def wait_for_redis() -> None:
        for _ in range(_STEPS):
            order.append("calm")
            reply = asyncio.get_running_loop().create_future()
            _after_turns(20, reply)
            await reply

    flood = [asyncio.ensure_future(fair.run("flood", _step(order, "flood"))) for _ in range(100)]
    await fair.run("calm", wait_for_redis())
    assert order.count("flood") <= 2, "steps of the call do not end the pause of the flood"
    fair._sharing._until_s = 0
    await asyncio.gather(*flood)


def _after_turns(turns: int, reply: "asyncio.Future[None]") -> None:
    if turns:
        asyncio.get_running_loop().call_soon(_after_turns, turns - 1, reply)
    else:
        reply.set_result(None)


async def test_two_floods_do_not_pause_for_each_other() -> None:
    fair, order = _pausing(under_way_s=60), list[str]()
    floods = [
        asyncio.ensure_future(fair.run(name, _step(order, name)))
        for _ in range(100)
        for name in ("flood", "calm")
    ]
    async with asyncio.timeout(10):
        await wait_until(lambda: len(order) > 200, description="the floods go on")
    fair._sharing._until_s = 0
    await asyncio.gather(*floods)


async def test_a_flood_goes_on_when_no_other_call_is_under_way() -> None:
    fair, order = _pausing(under_way_s=0.01), list[str]()
    flood = [fair.run("flood", _step(order, "flood")) for _ in range(100)]
    await asyncio.gather(fair.run("calm", _step(order, "calm", 1)), *flood)
    assert order.count("flood") == 100 * _STEPS


@pytest.mark.parametrize(("pause_s", "is_timed"), [(0.0004, False), (0.001, True)])
async def test_a_pause_of_a_millisecond_leaves_the_processor_to_others(
    pause_s: float, is_timed: bool
) -> None:
    fair = FairSteps()
    fair._have_next_turn(pause_s)
    assert hasattr(fair._next_turn, "when") == is_timed


async def test_a_few_calls_of_a_tenant_do_not_pause_for_another_one() -> None:
    fair, order = _pausing(under_way_s=60), list[str]()
    few = [fair.run("flood", _step(order, "few")) for _ in range(4)]
    async with asyncio.timeout(10):
        await asyncio.gather(fair.run("calm", _step(order, "calm", 1)), *few)
    assert order.count("few") == 4 * _STEPS


async def test_a_tenant_alone_waits_for_no_step() -> None:
    fair, order = FairSteps(), list[str]()
    calls = [asyncio.ensure_future(fair.run("only", _step(order, "only"))) for _ in range(100)]
    await asyncio.sleep(0)
    assert len(order) == 100, "all calls have their first step in one turn"
    await asyncio.gather(*calls)


async def test_steps_that_wait_are_given_at_once_when_the_other_tenant_has_gone(
    fair: FairSteps,
) -> None:
    order: list[str] = []
    calls = [asyncio.ensure_future(fair.run("flood", _step(order, "flood"))) for _ in range(100)]
    await asyncio.sleep(0)
    assert len(order) == 1
    fair._sharing._until_s = 0
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(order) >= 100
    await asyncio.gather(*calls)


async def test_calls_of_a_tenant_have_their_steps_in_the_order_in_which_they_came(
    fair: FairSteps,
) -> None:
    order: list[str] = []
    names = [f"call {number}" for number in range(10)]
    assert await asyncio.gather(*(fair.run("flood", _step(order, name, 2)) for name in names))
    assert order == [*names, *names]


async def test_a_call_that_is_cancelled_while_it_waits_for_its_step_cleans_up_and_takes_none(
    fair: FairSteps,
) -> None:
    order: list[str] = []

    async def clean_up() -> None:
        try:
            await arrived
        finally:
            order.append("cleaned up")
            await asyncio.sleep(0)
            order.append("went on")

    arrived = asyncio.get_running_loop().create_future()
    held = asyncio.ensure_future(fair.run("flood", clean_up()))
    await asyncio.sleep(0)
    await wait_until(lambda: not fair._had, description="the call waits for what arrives")
    others = [asyncio.ensure_future(fair.run("flood", _step(order, "other", 1))) for _ in range(9)]
    arrived.set_result(None)
    await asyncio.sleep(0)
    assert not order.count("cleaned up")
    held.cancel()
    unbegun = others.pop()
    unbegun.cancel()
    assert await asyncio.gather(*others) == ["other"] * 8
    for ended in (held, unbegun):
        with pytest.raises(asyncio.CancelledError):
            await ended
    assert order.index("cleaned up") < order.index("went on")
    await wait_until(lambda: not fair._waiting, description="nobody waits")


async def test_what_is_thrown_into_a_call_reaches_its_own_handler(fair: FairSteps) -> None:
    async def call() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"
        return "late"

    assert await fair.run("flood", call()) == "in time"


async def test_an_exception_of_a_call_is_raised_and_leaves_nothing_behind(fair: FairSteps) -> None:
    class Fault(Exception):
        pass

    async def fail() -> None:
        await asyncio.sleep(0)
        await failed()

    def failed() -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(faults.pop())
        return future

    faults = [Fault()]
    kept = weakref.ref(faults[0])
    with pytest.raises(Fault):
        await fair.run("flood", fail())
    assert kept() is None, "an error in a cycle keeps the objects of its call until a collection"


async def test_the_tasks_of_hundreds_of_streams_do_not_come_before_the_call_of_another_tenant() -> (
    None
):
    order: list[str] = []
    all_wait, waiting = asyncio.Event(), []
    names = ["calm", *(f"flood~{user}" for user in range(100)), "calm"]

    async def work(tenant: str) -> None:
        waiting.append(tenant)
        if len(waiting) == len(names):
            all_wait.set()
        await all_wait.wait()
        await _step(order, tenant)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # As StreamResponse does.
        await asyncio.create_task(
            in_steps_of(scope, partial(work, scope["state"]["caller"].tenant))
        )

    edge = _edge(app)
    await asyncio.gather(*(_called(edge, name) for name in names))
    last = len(order) - 1 - order[::-1].index("calm")
    assert order[:last].count("flood") <= 4 * _STEPS
    assert order.count("flood") == 100 * _STEPS


async def test_a_body_that_dribbles_holds_up_neither_its_tenant_nor_another_one(
    redis_url: str,
) -> None:
    body = b'{"message": "hi"}'
    headers = (f"Content-Length: {len(body)}", "Content-Type: application/json")
    authorization = f"Authorization: {ADA['Authorization']}"
    async with (
        running_api(redis_url, api_keys=KEYS) as api,
        raw_connection(api.url, call("POST", "/chat", authorization, *headers)) as slow,
    ):
        for piece in (body[:1], body[1:8], body[8:]):
            for caller in (ADA, BOB):
                answer = await api.client.get("/conversations", headers=caller)
                assert answer.status_code == 200
            await slow.send(piece)
        assert await slow.until(b"HTTP/1.1 202")
