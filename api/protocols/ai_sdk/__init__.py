"""The chat protocol of the AI SDK's `useChat`."""

from tickertape.api.edge.error_forms import ErrorForm
from tickertape.api.protocols.ai_sdk import routes
from tickertape.api.protocols.http_protocol import HttpProtocol

PROTOCOL = HttpProtocol(
    routers=(routes.router,),
    error_forms={"/api/": ErrorForm.TEXT},
    quick=(routes.send, routes.send_7),
)
