"""The one call of GPT Terminal's page."""

from tickertape.api.edge.error_forms import ErrorForm
from tickertape.api.protocols.gpt_terminal import routes
from tickertape.api.protocols.http_protocol import HttpProtocol

# The page sends the last turns of the conversation as text, and limits itself to this size.
_MAX_BODY_BYTES = 5 * 1024 * 1024

PROTOCOL = HttpProtocol(
    routers=(routes.router,),
    error_forms={"/api/": ErrorForm.TEXT},
    max_body_bytes={routes.PATH: _MAX_BODY_BYTES},
)
