"""The native protocol: requests, their event streams, conversations and roles."""

from tickertape.api.protocols.http_protocol import HttpProtocol
from tickertape.api.protocols.native import conversations, requests, roles, streams

PROTOCOL = HttpProtocol(
    routers=(requests.router, streams.router, conversations.router, roles.router)
)
