"""Clients of a Tickertape API: they submit, follow, resume and cancel requests.

`Client` is for ordinary programs, `AsyncClient` for those that run an event loop. The pure core is
`events` (bytes become events), `fold` (events become an answer) and `outage` (what to do when a
call fails). `transport` makes single calls, `stream` reconnects. Nothing of the API, the workers or
the broker is imported.
"""

from tickertape.client.async_answer import AsyncAnswer
from tickertape.client.async_client import AsyncClient
from tickertape.client.errors import (
    AnswerIncomplete,
    AnswerRestarted,
    ApiUnreachable,
    CallRefused,
    StreamLost,
    TickertapeError,
)
from tickertape.client.events import Event
from tickertape.client.outage import Timing
from tickertape.client.results import (
    Answered,
    Conversation,
    ConversationPage,
    ConversationSummary,
    Request,
    RequestPage,
    Role,
    Turn,
)
from tickertape.client.stream import AsyncEvents
from tickertape.client.sync_client import Answer, Client, Events

__all__ = [
    "Answer",
    "AnswerIncomplete",
    "AnswerRestarted",
    "Answered",
    "ApiUnreachable",
    "AsyncAnswer",
    "AsyncClient",
    "AsyncEvents",
    "CallRefused",
    "Client",
    "Conversation",
    "ConversationPage",
    "ConversationSummary",
    "Event",
    "Events",
    "Request",
    "RequestPage",
    "Role",
    "StreamLost",
    "TickertapeError",
    "Timing",
    "Turn",
]
