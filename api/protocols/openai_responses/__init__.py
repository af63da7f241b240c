"""OpenAI's Responses."""

from tickertape.api.protocols.http_protocol import HttpProtocol
from tickertape.api.protocols.openai import ERROR_FORMS
from tickertape.api.protocols.openai_responses import routes

PROTOCOL = HttpProtocol(routers=(routes.router,), error_forms=ERROR_FORMS, quick=(routes.create,))
