"""The native protocol: requests, their event streams, conversations and roles."""

from tickertape.api.protocols.http_protocol import HttpProtocol
from tickertape.api.protocols.native import (
    conversations,
    many_streams,
    requests,
    roles,
    streams,
    tickets,
)

PROTOCOL = HttpProtocol(
    routers=(
        requests.router,
        streams.router,
        many_streams.router,
        tickets.router,
        conversations.router,
        roles.router,
    ),
    quick=(requests.submit, streams.follow),
)
