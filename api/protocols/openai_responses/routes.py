"""OpenAI's Responses: create, retrieve, resume, cancel, delete, list the input."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from tickertape.api.asking import Ask
from tickertape.api.dependencies import CurrentCaller, Tenant, UsableServices
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.edge.problems import Problem
from tickertape.api.fanout.leaving import leaving_of
from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.streams import Start, start_of_log
from tickertape.api.fanout.tape import Tape
from tickertape.api.protocols.foreground import Foreground
from tickertape.api.protocols.headers import CancelOnDisconnect, IdempotencyKey, sdk_try_of
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.api.protocols.numbered_events import skip_events
from tickertape.api.protocols.openai_responses import wire as responses
from tickertape.api.protocols.openai_responses.body import ResponsesBody
from tickertape.api.protocols.openai_responses.stored import (
    Context,
    StoredResponse,
    check_stored,
    context_after,
    find,
    load,
    stored_of,
)
from tickertape.api.services import Services
from tickertape.broker.codec import Entry
from tickertape.broker.errors import RequestMissing
from tickertape.runtime.json_types import JsonObject

router = APIRouter(tags=["openai"], route_class=JsonRoute)

ResponseId = Annotated[str, Path(description="The `id` that `POST /v1/responses` returned")]
_RESPONSE: dict[int | str, JsonObject] = {
    200: {
        "description": "OpenAI's `response`; with `stream`, its events, numbered from 0",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/event-stream": {},
        },
        "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
    }
}


class Deleted(BaseModel):
    """A response that was deleted."""

    id: str
    object: str = "response"
    deleted: bool = True


class InputItems(BaseModel):
    """A page of the input of a response."""

    object: str = "list"
    data: list[JsonObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


@router.post(
    "/v1/responses",
    response_class=Response,
    responses={**_RESPONSE, **error_responses(400, 401, 404, 413, 415, 429, 503)},
)
async def create(
    body: ResponsesBody,
    request: Request,
    services: UsableServices,
    caller: CurrentCaller,
    *,
    idempotency_key: IdempotencyKey = None,
    x_cancel_on_disconnect: CancelOnDisconnect = False,
) -> Response:
    """Create a response. With `background`, it is returned at once and generated afterwards."""
    services.refuse_while_draining()
    ask = await _ask(body, services, caller.principal)
    # A request that ends with its caller is not there for a repeated call.
    sdk_try = None if x_cancel_on_disconnect else sdk_try_of(request.headers)
    submitted = await services.submit(
        ask, caller=caller, idempotency_key=idempotency_key, sdk_try=sdk_try
    )
    request_id = submitted.request_id
    if body.background:
        # The caller needs the id more than the HTTP status of an early failure.
        if body.stream:
            return await _follow(services, request_id, None)
        stored = await load(services, request_id, caller.principal)
        return await _answer(services, stored)
    call = Foreground(
        services,
        caller,
        request_id,
        leaving_of(request.scope, request.receive),
        cancels_on_leave=x_cancel_on_disconnect,
        is_repeatable=idempotency_key is not None or sdk_try is not None,
    )
    if body.stream:
        return await call.stream(responses.dialect(request_id))

    async def render(entries: list[Entry]) -> JsonObject:
        record = await services.requests.get(request_id, caller.principal)
        stored = await services.heavy.run_for(
            caller.tenant, len(entries), lambda: stored_of(record, entries)
        )
        return stored.object()

    return await call.answer(render)


@router.get(
    "/v1/responses/{response_id}",
    response_class=Response,
    responses={**_RESPONSE, **error_responses(400, 401, 404, 429, 503)},
)
async def retrieve(
    response_id: ResponseId,
    services: UsableServices,
    tenant: Tenant,
    *,
    stream: Annotated[
        bool, Query(description="Send events, those of the past first, and do not wait for the end")
    ] = False,
    starting_after: Annotated[
        int | None, Query(ge=0, description="The number of the last event received")
    ] = None,
) -> Response:
    """Return the response in its present state, or stream its events after a number."""
    request_id = responses.request_id_of(response_id)
    if not stream:
        stored = await load(services, request_id, tenant)
        return await _answer(services, stored)
    services.refuse_while_draining()
    await check_stored(services, request_id, tenant)
    return await _follow(services, request_id, starting_after)


@router.post(
    "/v1/responses/{response_id}/cancel",
    response_class=JSONResponse,
    responses={**_RESPONSE, **error_responses(400, 401, 404, 429, 503)},
)
async def cancel(response_id: ResponseId, services: UsableServices, tenant: Tenant) -> Response:
    """Cancel a background response and keep its output so far. The call is safe to repeat."""
    request_id = responses.request_id_of(response_id)
    stored = await load(services, request_id, tenant)
    if not stored.is_background:
        raise Problem(400, "not_in_background", "Cannot cancel a synchronous response.")
    await services.cancel(request_id, tenant)
    stored = await load(services, request_id, tenant)
    return await _answer(services, stored)


@router.delete("/v1/responses/{response_id}", responses=error_responses(401, 404, 503))
async def delete(response_id: ResponseId, services: UsableServices, tenant: Tenant) -> Deleted:
    """Erase a response with its input and its log. An active response is cancelled first."""
    request_id = responses.request_id_of(response_id)
    try:
        await find(services, request_id, tenant)
    except RequestMissing:
        # Responses that follow may still need what an expired one said.
        erasing = services.exchanges.erase(request_id, tenant)
        await services.past.erase(request_id, tenant, erasing)
        return Deleted(id=response_id)
    await services.erase(request_id, tenant)
    return Deleted(id=response_id)


@router.get(
    "/v1/responses/{response_id}/input_items", responses=error_responses(400, 401, 404, 429, 503)
)
async def list_input_items(
    response_id: ResponseId,
    services: UsableServices,
    tenant: Tenant,
    *,
    after: Annotated[str | None, Query(description="The last id of the page before")] = None,
    limit: Annotated[int, Query(description="The length of the page", ge=1, le=100)] = 20,
    order: Annotated[
        Literal["asc", "desc"], Query(description="`desc` lists the newest item first")
    ] = "desc",
) -> InputItems:
    """List the input of the response, without that of earlier responses."""
    request_id = responses.request_id_of(response_id)
    stored = await load(services, request_id, tenant)
    items = [
        # The caller's ids may repeat, so paging uses ids that are made here.
        {"status": "completed", **item, "id": f"in_{request_id}_{number}"}
        for number, item in enumerate(stored.fold.echo.get("input", []))
    ]
    if order == "desc":
        items.reverse()
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise Problem(400, "invalid_value", "after: there is no such item", param="after")
        items = items[ids.index(after) + 1 :]
    page = items[:limit]
    return InputItems(
        data=page,
        first_id=page[0]["id"] if page else None,
        last_id=page[-1]["id"] if page else None,
        has_more=len(items) > limit,
    )


async def _ask(body: ResponsesBody, services: Services, tenant: str) -> Ask:
    body.check()
    context = Context()
    if body.previous_response_id is not None:
        context = await context_after(services, body.previous_response_id, tenant)
    return await services.heavy.run_if_heavy(tenant, lambda: _ask_with(body, context))


def _ask_with(body: ResponsesBody, context: Context) -> Ask:
    echo = {"response": body.echoed(), "input": body.items(), "context": context.messages}
    kept_echo = None
    if context.after.count:
        # A process of version 0.1 reads `context`. It fails at None, and would lose the messages
        # without it.
        kept_echo = {**echo, "context": None, "after": msgspec.to_builtins(context.after)}
    return Ask(
        wire=responses.NAME,
        messages=body.chat_messages(context.messages),
        params=body.params(),
        openai_params=body.openai_params(),
        role=body.role(),
        # A polled response can show a new answer. A stream cannot take its events back, and would
        # end with an error at each resumption.
        on_interruption="continue" if body.stream else "restart",
        metadata=body.metadata,
        echo=echo,
        kept_echo=kept_echo,
        follows=context.after.request_id or None,
    )


async def _follow(services: Services, request_id: str, starting_after: int | None) -> Response:
    locate = start_of_log if starting_after is None else AfterEvent(starting_after)
    return await services.streams.follow(request_id, responses.dialect(request_id), locate)


@dataclass(frozen=True)
class AfterEvent:
    """Locates the frames after the event of a number."""

    number: int

    def __call__(self, tape: Tape, rendering: Rendering, *, is_current: bool) -> Start | None:
        """Where to start, see Locate; raises Problem if no event has the number."""
        del tape
        following = skip_events(rendering.frames, self.number + 1)
        if following is not None:
            return Start(*following)
        if not is_current:
            return None
        message = "starting_after: the response has no event of this number"
        raise Problem(400, "invalid_value", message, param="starting_after")


async def _answer(services: Services, stored: StoredResponse) -> Response:
    record = stored.record
    content = await services.heavy.run_if_heavy(
        record.tenant, lambda: msgspec.json.encode(stored.object())
    )
    headers = {"X-Request-Id": record.request_id}
    return Response(content, media_type="application/json", headers=headers)
