"""Requests: submit, read, list, cancel, erase."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from tickertape.api.asking import Ask
from tickertape.api.dependencies import CurrentCaller, Tenant, UsableServices
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.protocols.headers import IdempotencyKey
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.api.protocols.native.body import ChatBody
from tickertape.api.protocols.native.paging import Limit, Page, page_of
from tickertape.api.protocols.native.views import (
    CancelView,
    RequestList,
    RequestView,
    SubmittedView,
    request_list,
    request_view,
    stream_url,
)
from tickertape.broker.errors import RequestMissing, Unavailable
from tickertape.broker.fold import fold
from tickertape.broker.log import decoded, size_of
from tickertape.runtime.json_types import JsonObject

router = APIRouter(tags=["requests"], route_class=JsonRoute)

RequestId = Annotated[str, Path(description="The `request_id` that `POST /chat` returned")]
Status = Literal["queued", "running", "completed", "failed", "cancelled"]
_PARAMS = ("model", "temperature", "top_p", "max_tokens")


@router.post(
    "/chat",
    status_code=202,
    response_model_exclude_unset=True,
    responses={
        200: {"model": SubmittedView, "description": "The same request was accepted before"},
        **error_responses(400, 401, 404, 409, 413, 415, 429, 503),
    },
)
async def submit(
    body: ChatBody,
    services: UsableServices,
    caller: CurrentCaller,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> SubmittedView:
    """Submit a request. It is stored when this call returns, and runs without any reader."""
    ask = await services.heavy.run_if_heavy(caller.tenant, lambda: _ask(body))
    submitted = await services.submit(ask, caller=caller, idempotency_key=idempotency_key)
    request_id, status = submitted.request_id, "queued"
    if not submitted.is_new:
        response.status_code = 200
        try:
            status = (await services.requests.get(request_id, caller.principal)).status
        except RequestMissing:
            # A fail-over lost the request since. The same call may be repeated, and finds that out.
            raise Unavailable from None
    response.headers["Location"] = f"{services.settings.root_path}/chat/{request_id}"
    fields: JsonObject = {"request_id": request_id, "status": status}
    if body.conversation_id is not None:
        fields["conversation_id"] = body.conversation_id
    return SubmittedView(**fields, stream_url=stream_url(request_id))


def _ask(body: ChatBody) -> Ask:
    sent = {name: getattr(body, name) for name in _PARAMS}
    return Ask(
        wire="native",
        messages=body.chat_messages(),
        params={name: value for name, value in sent.items() if value is not None},
        role=body.role,
        variables=body.variables,
        conversation_id=body.conversation_id,
        links=body.links,
        on_busy=body.on_busy,
        on_interruption=body.on_interruption,
        metadata=body.metadata,
        retention_s=body.retention_s,
    )


@router.get(
    "/chat", response_model_exclude_unset=True, responses=error_responses(400, 401, 429, 503)
)
async def list_requests(
    services: UsableServices,
    tenant: Tenant,
    *,
    conversation_id: Annotated[
        str | None, Query(description="Only requests of this conversation", max_length=512)
    ] = None,
    status: Annotated[Status | None, Query(description="Only requests in this state")] = None,
    after: Annotated[
        str | None, Query(description="`after` of the last page", max_length=100)
    ] = None,
    limit: Limit = 20,
) -> RequestList:
    """List the tenant's requests that have not expired, newest first, without their texts."""
    page = Page(conversation_id=conversation_id, status=status, limit=limit)
    records, next_after = await page_of(services.requests, tenant, page, after)
    return request_list(records, next_after)


@router.get(
    "/chat/{request_id}",
    response_model=RequestView,
    response_model_exclude_unset=True,
    responses=error_responses(401, 404, 429, 503),
)
async def read(request_id: RequestId, services: UsableServices, tenant: Tenant) -> Response:
    """Return the present state of a request, with its text so far."""
    record = await services.requests.get_with_usage(request_id, tenant)
    position = await services.position(record)
    async with services.turn_to_read(record):
        stored = await services.logs.stored(request_id)
        if not stored:
            raise RequestMissing

        def view() -> bytes:
            shown = request_view(record, fold(decoded(stored)), position)
            return shown.model_dump_json(exclude_unset=True).encode()

        content = await services.heavy.run_for(
            tenant, len(stored), view, size_bytes=size_of(stored)
        )
    return Response(content, media_type="application/json")


@router.post("/chat/{request_id}/cancel", responses=error_responses(401, 404, 503))
async def cancel(
    request_id: RequestId, services: UsableServices, caller: CurrentCaller
) -> CancelView:
    """Cancel a request in any state and keep its text so far. The call is safe to repeat."""
    if caller.only is not None and caller.only.kind == "conversation":
        record = await services.requests.get(request_id, caller.principal)
        caller.require_conversation(record.head.get("conversation_id"))
    status = await services.cancel(request_id, caller.principal)
    return CancelView(request_id=request_id, status=status)


@router.delete(
    "/chat/{request_id}",
    status_code=204,
    response_class=Response,
    responses=error_responses(401, 404, 503),
)
async def erase(request_id: RequestId, services: UsableServices, tenant: Tenant) -> None:
    """Erase a request with its prompt and its log. A running request is cancelled first."""
    await services.erase(request_id, tenant)
