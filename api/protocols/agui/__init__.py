"""AG-UI 1.0, the protocol of CopilotKit, TanStack AI and assistant-ui."""

from tickertape.api.protocols.agui import routes
from tickertape.api.protocols.http_protocol import HttpProtocol

PROTOCOL = HttpProtocol(routers=(routes.router,), quick=(routes.run,))
