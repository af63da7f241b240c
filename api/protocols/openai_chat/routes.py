"""OpenAI's Chat Completions: one call submits the messages and returns the answer."""

from fastapi import APIRouter, Request, Response

from tickertape.api.asking import Ask
from tickertape.api.dependencies import CurrentCaller, UsableServices
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.fanout.leaving import leaving_of
from tickertape.api.protocols.foreground import Foreground
from tickertape.api.protocols.headers import CancelOnDisconnect, IdempotencyKey, sdk_try_of
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.api.protocols.openai_chat import wire as chat_completions
from tickertape.api.protocols.openai_chat.body import ChatCompletionsBody
from tickertape.broker.codec import Entry
from tickertape.runtime.json_types import JsonObject

router = APIRouter(tags=["openai"], route_class=JsonRoute)

_ANSWERS: dict[int | str, JsonObject] = {
    200: {
        "description": "The answer, as OpenAI's `chat.completion`; with `stream`, as events of "
        "`chat.completion.chunk` and a last `[DONE]`",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/event-stream": {},
        },
        "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
    },
    **error_responses(400, 401, 404, 413, 415, 429, 503),
}


@router.post("/v1/chat/completions", response_class=Response, responses=_ANSWERS)
async def create(
    body: ChatCompletionsBody,
    request: Request,
    services: UsableServices,
    caller: CurrentCaller,
    *,
    idempotency_key: IdempotencyKey = None,
    x_cancel_on_disconnect: CancelOnDisconnect = False,
) -> Response:
    """Create a completion. `X-Request-Id` is its id for `/chat/{id}/stream` after a disconnect."""
    services.refuse_while_draining()
    ask = await services.heavy.run_if_heavy(caller.tenant, lambda: _ask(body))
    # A request that ends with its caller is not there for a repeated call.
    sdk_try = None if x_cancel_on_disconnect else sdk_try_of(request.headers)
    submitted = await services.submit(
        ask, caller=caller, idempotency_key=idempotency_key, sdk_try=sdk_try
    )
    request_id = submitted.request_id
    call = Foreground(
        services,
        caller,
        request_id,
        leaving_of(request.scope, request.receive),
        cancels_on_leave=x_cancel_on_disconnect,
        is_repeatable=idempotency_key is not None or sdk_try is not None,
    )
    if body.stream:
        dialect = chat_completions.dialect(request_id, include_usage=body.includes_usage)
        return await call.stream(dialect)

    async def render(entries: list[Entry]) -> JsonObject:
        return await services.heavy.run_for(
            caller.tenant, len(entries), lambda: chat_completions.completion(request_id, entries)
        )

    return await call.answer(render)


def _ask(body: ChatCompletionsBody) -> Ask:
    return Ask(
        wire=chat_completions.NAME,
        messages=body.chat_messages(),
        params=body.params(),
        role=body.role(),
        # A stream cannot take its chunks back.
        on_interruption="continue" if body.stream else "restart",
    )
