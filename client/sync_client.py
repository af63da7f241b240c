"""The client for programs without an event loop.

It drives AsyncClient with a private asyncio.Runner, so that both clients share every line that
knows the protocol. An HTTP library with blocking sockets would need a second transport and a second
reading loop, and would notice a silent connection only with a thread. The runner lives in the
thread of its user, and KeyboardInterrupt ends the call that runs.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, Self, TypeVar, Unpack

from tickertape.client.async_answer import AsyncAnswer
from tickertape.client.async_client import AsyncClient
from tickertape.client.events import Event
from tickertape.client.outage import Timing
from tickertape.client.results import (
    Answered,
    Conversation,
    ConversationPage,
    Request,
    RequestPage,
    Role,
)
from tickertape.client.stream import AsyncEvents
from tickertape.client.submission import Messages, SubmitOptions

T = TypeVar("T")

_DEFAULT_TIMING = Timing()


class Client:
    """AsyncClient for code without an event loop; use it as `with Client() as client`.

    Arguments, methods and errors are those of AsyncClient. A client belongs to one thread. Where an
    event loop runs (an `async def`, a notebook), each call raises RuntimeError: use AsyncClient.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timing: Timing = _DEFAULT_TIMING,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self._async = AsyncClient(url, api_key, timing=timing, notify=notify)
        self._runner = asyncio.Runner()
        self._is_closed = False

    @property
    def display_url(self) -> str:
        """The base URL without its account and password, for messages."""
        return self._async.display_url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. Requests continue on the server."""
        if self._is_closed:
            return
        self.run(self._async.aclose())
        self._is_closed = True
        self._runner.close()

    def submit(
        self,
        message: Messages,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> "Answer":
        """Submit a request and return its answer, of which nothing was read yet."""
        submitting = self._async.submit(message, idempotency_key=idempotency_key, **options)
        return Answer(self, self.run(submitting))

    def answer(self, request_id: str) -> "Answer":
        """The answer of a request that any client submitted. Calls nothing."""
        return Answer(self, self._async.answer(request_id))

    def follow(self, request_id: str, *, after: str | None = None) -> "Events":
        """The events of a request behind the cursor `after`, live to its end."""
        return Events(self, self._async.follow(request_id, after=after))

    def follow_conversation(self, conversation_id: str, *, after: str | None = None) -> "Events":
        """The events of a conversation's requests, including future ones. Does not end."""
        return Events(self, self._async.follow_conversation(conversation_id, after=after))

    def cancel(self, request_id: str) -> str:
        """End a request, keep its text, and return its status."""
        return self.run(self._async.cancel(request_id))

    def get(self, request_id: str) -> Request:
        """The present state of a request, with its text so far."""
        return self.run(self._async.get(request_id))

    def erase(self, request_id: str) -> None:
        """Cancel a request, and erase it with its prompt and its answer."""
        self.run(self._async.erase(request_id))

    def requests(
        self,
        *,
        conversation_id: str | None = None,
        status: str | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> RequestPage:
        """A page of the requests that have not expired, newest first."""
        return self.run(
            self._async.requests(
                conversation_id=conversation_id, status=status, limit=limit, after=after
            )
        )

    def conversations(
        self, *, query: str | None = None, limit: int = 20, after: str | None = None
    ) -> ConversationPage:
        """A page of the conversations, newest first; `query` searches their titles."""
        return self.run(self._async.conversations(query=query, limit=limit, after=after))

    def conversation(
        self, conversation_id: str, *, limit: int | None = None, before: str | None = None
    ) -> Conversation:
        """A conversation with its turns: all, or the newest `limit` in front of `before`."""
        return self.run(self._async.conversation(conversation_id, limit=limit, before=before))

    def rename_conversation(self, conversation_id: str, title: str) -> None:
        """Set the title of a conversation."""
        self.run(self._async.rename_conversation(conversation_id, title))

    def delete_conversation(self, conversation_id: str) -> None:
        """Cancel the active requests of a conversation, and erase it with all its requests."""
        self.run(self._async.delete_conversation(conversation_id))

    def delete_turn(self, conversation_id: str, request_id: str) -> None:
        """Cancel a request of a conversation and erase its turn; turns that follow it stay."""
        self.run(self._async.delete_turn(conversation_id, request_id))

    def roles(self) -> list[Role]:
        """The roles of the server, sorted by name, without their messages."""
        return self.run(self._async.roles())

    def role(self, name: str) -> Role:
        """A role with its messages."""
        return self.run(self._async.role(name))

    def models(self) -> list[str]:
        """The names of the models of the upstream."""
        return self.run(self._async.models())

    def get_json(self, path: str) -> dict[str, Any]:
        """The JSON object at a path of the API, for what this class has no method for."""
        return self.run(self._async.get_json(path))

    def is_ready(self, limit_s: float = 2.0) -> bool:
        """Whether the API accepts requests now; False if it does not answer within `limit_s`."""
        return self.run(self._async.is_ready(limit_s))

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run one call of the async classes to its end. For the classes of this module."""
        problem = "an event loop is running in this thread; use tickertape.AsyncClient"
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if not self._is_closed:
                return self._runner.run(call)
            problem = "this client is closed; open another tickertape.Client"
        call.close()
        raise RuntimeError(problem)


class Events:
    """Yields each event once and in order, over as many connections as it takes.

    AsyncEvents states the guarantees. Between two events no code runs, so a program that pauses
    for long may find its connection closed, and continues over another one.
    """

    def __init__(self, client: Client, events: AsyncEvents) -> None:
        self._client = client
        self._events = events

    @property
    def cursor(self) -> str | None:
        """The last event read; pass it as `after` to continue behind it later."""
        return self._events.cursor

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event: Event | None = self._client.run(_next_or_none(self._events))
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration and close the connection."""
        self._client.run(self._events.aclose())


class Answer:
    """Reads one answer, as often as wanted. Nothing here disturbs the request, except `cancel`."""

    def __init__(self, client: Client, answer: AsyncAnswer) -> None:
        self.request_id = answer.request_id
        self.conversation_id = answer.conversation_id
        self._client = client
        self._answer = answer

    @property
    def text(self) -> Iterator[str]:
        """The pieces of the answer's text as the model writes them, from the beginning.

        Raises AnswerRestarted and AnswerIncomplete as AsyncAnswer.text does.
        """
        return self._texts()

    def _texts(self) -> Generator[str]:
        texts = self._answer.text
        try:
            while (piece := self._client.run(_next_or_none(texts))) is not None:
                yield piece
        finally:
            # The loop is closed if the client was closed before this iterator.
            with contextlib.suppress(RuntimeError):
                self._client.run(texts.aclose())

    def events(self, *, after: str | None = None) -> Events:
        """The events of the request behind the cursor `after`, live to its end."""
        return self._client.follow(self.request_id, after=after)

    def wait(self) -> Answered:
        """The complete answer. Raises AnswerIncomplete if the request does not complete."""
        return self._client.run(self._answer.wait())

    def get(self) -> Request:
        """The present state of the request, with its text so far."""
        return self._client.get(self.request_id)

    def cancel(self) -> str:
        """End the request, keep its text, and return its status."""
        return self._client.cancel(self.request_id)


async def _next_or_none(iterator: Any) -> Any:
    return await anext(iterator, None)
