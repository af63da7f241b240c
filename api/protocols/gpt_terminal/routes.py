"""GPT Terminal's one call: a question in JSON, the answer as bare text while it is written."""

from fastapi import APIRouter, Response

from tickertape.api.asking import Ask
from tickertape.api.dependencies import Tenant, UsableServices
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.protocols.gpt_terminal.body import TerminalBody
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.api.protocols.native.text_wire import TEXT

PATH = "/api/gpt/get"

router = APIRouter(tags=["gpt terminal"], route_class=JsonRoute)


@router.post(
    PATH,
    response_class=Response,
    responses={
        200: {
            "description": "The answer's text alone, in UTF-8, without framing; an answer cut "
            "short breaks off without an orderly end",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
        },
        **error_responses(400, 401, 404, 413, 415, 429, 503, as_text=True),
    },
)
async def get(body: TerminalBody, services: UsableServices, tenant: Tenant) -> Response:
    """Ask, and read the answer. `X-Request-Id` names it for `/chat/{id}/stream`, if this breaks."""
    services.refuse_while_draining()
    given = {"model": body.model or None, "temperature": body.temperature}
    ask = Ask(
        wire="text",
        messages=body.asked(),
        params={name: value for name, value in given.items() if value is not None},
        role=body.role,
        # What is on the page already cannot be taken back: go on from there, or break off.
        on_interruption="continue",
    )
    submitted = await services.submit(ask, tenant=tenant)
    return await services.streams.follow(submitted.request_id, TEXT)
