"""Tries of one person to reach what belongs to another one. Each must be refused."""

import asyncio
from collections.abc import Iterator

from tests.isolation.desk import Answer, Desk
from tests.isolation.marks import NATIVE, Checked
from tests.isolation.people import Headers, Person

_PAUSE_S = 0.1
# A stream that was opened goes on, and its head says enough.
_PATIENCE_S = 3.0
_OF_ONE_TENANT = 0.5
_REFUSED = {401, 403, 404}
# What a body names and does not exist for its caller.
_NOT_FOUND = (b"parent_id", b"previous_response_id")
Try = tuple[str, str, object]


async def pry(desk: Desk, people: list[Person]) -> None:
    """Try until cancelled."""
    while True:
        await asyncio.sleep(_PAUSE_S)
        owner, thief = desk.rng.sample(people, 2)
        if desk.rng.random() < _OF_ONE_TENANT:
            of_tenant = [each for each in people if each.tenant == owner.tenant]
            owner, thief = desk.rng.sample(of_tenant, 2)
        await _pry_into_request(desk, owner, thief)
        await _pry_into_conversation(desk, owner, thief)


async def _pry_into_request(desk: Desk, owner: Person, thief: Person) -> None:
    if not owner.objects.get("chat"):
        return
    request_id = desk.rng.choice(owner.objects["chat"])
    response_id = desk.rng.choice(owner.objects.get("response", [f"resp_{request_id}"]))
    headers = thief.headers(desk.rng)
    who = f"{thief.name} at {owner.name}'s"
    for given in _tries(request_id, response_id):
        await _try(desk, who, given, headers)
    tickets = owner.objects.get("ticket", []) + owner.objects.get("link", [])
    if not tickets:
        return
    ticket = desk.rng.choice(tickets)
    by_ticket = {"Authorization": f"Ticket {ticket}"}
    mine = thief.objects.get("chat", ["r0_none"])[-1]
    tries: list[Try] = [
        ("GET", f"/chat/{mine}", None),
        ("GET", f"/chat/{mine}/stream", None),
        ("POST", f"/chat/{mine}/cancel", None),
        ("GET", "/chat", None),
        ("GET", "/conversations", None),
        ("POST", f"/chat/{mine}/ticket", {"rights": "read"}),
        ("POST", "/v1/chat/completions", _SUBMIT),
    ]
    who = f"the ticket of {owner.name} at {thief.name}'s"
    await asyncio.gather(*(_try(desk, who, each, by_ticket) for each in tries))
    changed = ticket[:-3] + ("AAA" if not ticket.endswith("AAA") else "BBB")
    changed_one = ("GET", f"/chat/{request_id}/stream?ticket={changed}", None)
    await _try(desk, f"a changed ticket of {owner.name}", changed_one, {})


def _tries(request_id: str, response_id: str) -> Iterator[Try]:
    chat, response = f"/chat/{request_id}", f"/v1/responses/{response_id}"
    yield "GET", chat, None
    yield "GET", f"{chat}/stream", None
    yield "GET", f"{chat}/stream?format=text", None
    yield "GET", f"{chat}/stream?snapshot=1", None
    yield "POST", f"{chat}/cancel", None
    yield "POST", f"{chat}/ticket", {"rights": "read"}
    yield "POST", f"{chat}/tickets/revoke", None
    yield "DELETE", chat, None
    yield "GET", response, None
    yield "GET", f"{response}?stream=true", None
    yield "GET", f"{response}/input_items", None
    yield "POST", f"{response}/cancel", None
    yield "DELETE", response, None
    yield "POST", "/v1/responses", {"model": "m", "input": "x", "previous_response_id": response_id}
    yield "DELETE", f"/conversations/c0/turns/{request_id}", None
    yield "POST", "/chat", {"message": "x", "conversation_id": "c9", "parent_id": request_id}


async def _try(desk: Desk, who: str, given: Try, headers: Headers) -> None:
    method, path, body = given
    answer = await desk.call(method, path, headers, body, patience_s=_PATIENCE_S)
    if answer.status in {0, 503}:
        return
    kind = "ticket" if "ticket" in who else "id"
    desk.record.statuses[f"{kind} {answer.status}"] += 1
    is_refused = answer.status in _REFUSED or (
        answer.status == 400 and any(word in answer.body for word in _NOT_FOUND)
    )
    if not is_refused:
        desk.record.opened.append(f"{who}: {method} {path} got {answer.status}")
    _look_for_marks(desk, who, answer)


async def _pry_into_conversation(desk: Desk, owner: Person, thief: Person) -> None:
    """A conversation of the same name is another one, so only its text can tell."""
    checked = Checked(thief.prefix, NATIVE)
    name = f"{thief.name} at a conversation as {owner.name} has one"
    for path in ("/conversations/c0", "/conversations", "/chat"):
        answer = await desk.call("GET", path, thief.headers(desk.rng))
        checked.feed(answer.body)
        checked.end()
    checked.deltas = 0
    desk.record.add(name, checked)


def _look_for_marks(desk: Desk, who: str, answer: Answer) -> None:
    if b"[[" in answer.body:
        desk.record.foreign.append(f"{who} received {answer.body[:200]!r}")


_SUBMIT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
