"""GPT Terminal's one call: a question in JSON, and the answer as a stream of bare text."""

from fastapi import APIRouter, Response

from tickertape.api.asking import Ask
from tickertape.api.dependencies import CurrentCaller, UsableServices
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
            "content": {"text/event-stream": {}},
            "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
        },
        **error_responses(400, 401, 404, 413, 415, 429, 503, as_text=True),
    },
)
async def get(body: TerminalBody, services: UsableServices, caller: CurrentCaller) -> Response:
    """Submit a question and stream the answer. `X-Request-Id` is its id for `/chat/{id}/stream`."""
    services.refuse_while_draining()
    ask = await services.heavy.run_if_heavy(caller.tenant, lambda: _ask(body))
    submitted = await services.submit(ask, caller=caller)
    return await services.streams.follow(submitted.request_id, TEXT)


def _ask(body: TerminalBody) -> Ask:
    sent = {"model": body.model or None, "temperature": body.temperature}
    return Ask(
        wire="text",
        messages=body.chat_messages(),
        params={name: value for name, value in sent.items() if value is not None},
        role=body.role,
        # Text on the page cannot be taken back, so an interrupted answer continues or is cut.
        on_interruption="continue",
    )
