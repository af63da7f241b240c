"""What a person does with one request: submit on some wire, read it in several ways, cancel it."""

import asyncio
import re

import msgspec

from tests.isolation.desk import Answer, Desk
from tests.isolation.marks import AI_SDK, CHAT, NATIVE, RESPONSES, TEXT, Checked, Wire
from tests.isolation.people import CONVERSATIONS, Person
from tests.support.prompted import Plan

_RESPONSE = re.compile(rb'"(resp_[a-z0-9_]+)"')
_CANCELLED = 0.15
_REPLAYS = 3
# A conversation may be busy, and a tenant may have too many requests.
_SUBMITTED = {200, 202, 409, 429}
_JSON = {"Content-Type": "application/json"}


async def tell(desk: Desk, person: Person, length: int) -> None:
    """One request of a person, from its submit to its last reader."""
    story = desk.rng.choices(_STORIES, _WEIGHTS)[0]
    plan = Plan(deltas=length, rate_per_s=desk.rng.uniform(80, 500), tag=person.new_mark())
    desk.record.counts[f"story {story.__name__}"] += 1
    await story(desk, person, plan)


async def native(desk: Desk, person: Person, plan: Plan) -> None:
    """`POST /chat`, half of them in a conversation."""
    body = {"message": plan.prompt()}
    if desk.rng.random() < 0.5:
        body |= {"conversation_id": desk.rng.choice(CONVERSATIONS), "on_busy": "queue"}
    answer = await desk.call_as(person, "POST", "/chat", body, good=_SUBMITTED)
    if answer.status == 202:
        request_id = msgspec.json.decode(answer.body, type=dict[str, str | None])["request_id"]
        await _read_and_cancel(desk, person, plan, str(request_id))


async def chat_completions(desk: Desk, person: Person, plan: Plan) -> None:
    """`POST /v1/chat/completions`, whose request is then read on the native wire."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": plan.prompt()}]}
    await _foreground(desk, person, plan, "/v1/chat/completions", body, CHAT)


async def raw_text(desk: Desk, person: Person, plan: Plan) -> None:
    """`POST /api/gpt/get`, whose request is then read on the native wire."""
    await _foreground(desk, person, plan, "/api/gpt/get", {"message": plan.prompt()}, TEXT)


async def ai_sdk(desk: Desk, person: Person, plan: Plan) -> None:
    """`POST /api/chat`, and another reader of the same chat."""
    chat = desk.rng.choice(["a0", "a1"])
    part = {"type": "text", "text": plan.prompt()}
    body = {"id": chat, "message": {"id": plan.tag, "role": "user", "parts": [part]}}
    await asyncio.gather(
        _foreground(desk, person, plan, "/api/chat", body, AI_SDK),
        _resume_chat(desk, person, f"/api/chat/{chat}/stream"),
    )
    if desk.rng.random() < _CANCELLED:
        await desk.call_as(person, "POST", f"/api/chat/{chat}/stop", good={200})


async def responses(desk: Desk, person: Person, plan: Plan) -> None:
    """`POST /v1/responses` in the background, and readers that start in the middle."""
    body = {"model": "m", "input": plan.prompt(), "background": True}
    if person.objects.get("response") and desk.rng.random() < 0.2:
        body["previous_response_id"] = person.objects["response"][-1]
    # The response before may have expired, or may run on because its worker was killed.
    good = _SUBMITTED | ({400, 404} if "previous_response_id" in body else set())
    answer = await desk.call_as(person, "POST", "/v1/responses", body, good=good)
    if answer.status != 200 or (found := _RESPONSE.search(answer.body)) is None:
        return
    name = found[1].decode()
    person.add("response", name)
    path = f"/v1/responses/{name}"
    await asyncio.gather(
        *(_read_response(desk, person, plan, f"{path}?stream=true") for _ in range(_REPLAYS)),
        _read_response(desk, person, plan, f"{path}?stream=true&starting_after=50"),
    )
    await desk.call_as(person, "GET", path, good={200, 404})


async def _read_response(desk: Desk, person: Person, plan: Plan, path: str) -> None:
    # A response shows what the one before it has said only by its id.
    checked = Checked(plan.tag, RESPONSES)
    headers = person.headers(desk.rng)
    await desk.read(f"{person.name} by {path}", checked, path, headers)


async def _resume_chat(desk: Desk, person: Person, path: str) -> None:
    checked = Checked(person.prefix, AI_SDK)
    await asyncio.sleep(desk.rng.uniform(0, 0.3))
    await desk.read(f"{person.name} by {path}", checked, path, person.headers(desk.rng))


async def _foreground(
    desk: Desk, person: Person, plan: Plan, path: str, body: object, wire: Wire
) -> None:
    checked = Checked(plan.tag, wire)
    reading = await desk.read(
        f"{person.name} by {path}",
        checked,
        path,
        person.headers(desk.rng) | _JSON,
        method="POST",
        body=body,
        leaves_after=desk.rng.choice([None, None, 5]),
    )
    desk.expect(Answer(reading.status, {}, b""), f"POST {path}", _SUBMITTED)
    if reading.status == 200 and reading.request_id:
        await _read_and_cancel(desk, person, plan, reading.request_id)


async def _read_and_cancel(desk: Desk, person: Person, plan: Plan, request_id: str) -> None:
    person.add("chat", request_id)
    readers = [
        _read_by_pieces(desk, person, plan, request_id),
        _read_by_ticket(desk, person, plan, request_id),
        _read_text(desk, person, plan, request_id),
    ]
    if desk.rng.random() < _CANCELLED:
        readers.append(_cancel(desk, person, request_id))
    await asyncio.gather(*readers)
    for _ in range(_REPLAYS):
        checked = Checked(plan.tag, NATIVE)
        path = f"/chat/{request_id}/stream"
        await desk.read(f"{person.name} again", checked, path, person.headers(desk.rng))
    await desk.call_as(person, "GET", f"/chat/{request_id}", good={200, 404})


async def _read_by_pieces(desk: Desk, person: Person, plan: Plan, request_id: str) -> None:
    """Leave again and again, and resume after the last id."""
    checked = Checked(plan.tag, NATIVE)
    await _read_to_end(desk, f"{person.name} by pieces", checked, request_id, person.headers)


async def _read_by_ticket(desk: Desk, person: Person, plan: Plan, request_id: str) -> None:
    """As an EventSource does: the ticket is in the address, and no header says who reads."""
    path = f"/chat/{request_id}/ticket"
    body = {"rights": desk.rng.choice(["read", "cancel"])}
    answer = await desk.call_as(person, "POST", path, body, good={200, 404})
    if answer.status != 200:
        return
    ticket = msgspec.json.decode(answer.body)["ticket"]
    person.add("ticket", ticket)
    checked = Checked(plan.tag, NATIVE)
    name = f"{person.name} by ticket"
    await _read_to_end(desk, name, checked, request_id, lambda _: {}, f"?ticket={ticket}")
    by_header = {"Authorization": f"Ticket {ticket}"}
    found = await desk.call("GET", f"/chat/{request_id}", by_header)
    desk.expect(found, "GET by ticket", {200, 401, 404})


async def _read_to_end(
    desk: Desk, name: str, checked: Checked, request_id: str, headers_of: object, query: str = ""
) -> None:
    path = f"/chat/{request_id}/stream{query}"
    while not checked.is_over:
        headers = headers_of(desk.rng)  # type: ignore[operator]  # a function
        if checked.last_id:
            headers = {**headers, "Last-Event-ID": checked.last_id}
        leaves = desk.rng.choice([None, 10, 30, 60])
        reading = await desk.read(name, checked, path, headers, leaves_after=leaves)
        if reading.status in {204, 401, 404}:
            return
        await asyncio.sleep(desk.rng.uniform(0, 0.05))


async def _read_text(desk: Desk, person: Person, plan: Plan, request_id: str) -> None:
    checked = Checked(plan.tag, TEXT)
    path = f"/chat/{request_id}/stream?format=text"
    await desk.read(f"{person.name} by text", checked, path, person.headers(desk.rng))


async def _cancel(desk: Desk, person: Person, request_id: str) -> None:
    await asyncio.sleep(desk.rng.uniform(0, 1))
    await desk.call_as(person, "POST", f"/chat/{request_id}/cancel", good={200, 404})
    desk.record.counts["cancels"] += 1


_STORIES = [native, chat_completions, raw_text, ai_sdk, responses]
_WEIGHTS = [5, 1, 1, 1, 2]
