"""OpenAI's Chat Completions, and the list of models that its clients choose from."""

from tickertape.api.protocols.http_protocol import HttpProtocol
from tickertape.api.protocols.openai import ERROR_FORMS
from tickertape.api.protocols.openai_chat import models, routes

PROTOCOL = HttpProtocol(
    routers=(routes.router, models.router), error_forms=ERROR_FORMS, quick=(routes.create,)
)
