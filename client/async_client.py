"""The client for programs that run an event loop."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Any, Self, TypeVar, Unpack

from tickertape.client import address
from tickertape.client.async_answer import AsyncAnswer
from tickertape.client.errors import ApiUnreachable
from tickertape.client.events import Event
from tickertape.client.outage import Outage, Timing
from tickertape.client.results import (
    Conversation,
    ConversationPage,
    ListedModels,
    ListedRoles,
    Request,
    RequestPage,
    Role,
    Submitted,
)
from tickertape.client.stream import AsyncEvents, Notify
from tickertape.client.submission import Messages, SubmitOptions, submit_body
from tickertape.client.transport import Transport

T = TypeVar("T")

_DEFAULT_TIMING = Timing()


class AsyncClient:
    """Calls one Tickertape API. Use it as `async with AsyncClient() as client`.

    `url` is TICKERTAPE_URL or http://127.0.0.1:8000 by default, `api_key` is TICKERTAPE_API_KEY.
    Calls that could not reach the API, and calls that it was too busy for, are repeated within the
    patience of `timing`; no call runs twice on the server. `notify` receives one line for the user
    when an outage lasts longer than `timing.notify_after_s`, and one at its end.

    Every method raises CallRefused if the API rejects the call, and ApiUnreachable once the
    patience has run out. Cancelling a call ends the call, not the request that it submitted.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timing: Timing = _DEFAULT_TIMING,
        notify: Notify | None = None,
        url_name: str | None = None,
    ) -> None:
        self.timing = timing
        self.notify = notify or (lambda _: None)
        self._transport = Transport(
            address.url_from_environment() if url is None else url,
            address.key_from_environment() if api_key is None else api_key,
            silence_s=timing.silence_s,
            url_name=url_name or (address.URL_VARIABLE if url is None else "url"),
        )

    @property
    def display_url(self) -> str:
        """The base URL without its account and password, for messages."""
        return self._transport.display_url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Requests continue on the server."""
        await self._transport.aclose()

    async def submit(
        self,
        message: Messages,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> AsyncAnswer:
        """Submit a request and return its answer, of which nothing was read yet.

        The request is stored when this call returns, and runs without any reader. All attempts of
        one call use one idempotency key, so the request runs at most once; pass a key of your own
        to repeat a call after your program was restarted.
        """
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        submitted = await self._call(
            Submitted, "POST", "/chat", json=submit_body(message, options), headers=headers
        )
        return AsyncAnswer(self, submitted.request_id, submitted.conversation_id)

    def answer(self, request_id: str) -> AsyncAnswer:
        """The answer of a request that any client submitted. Calls nothing."""
        return AsyncAnswer(self, request_id)

    def follow(self, request_id: str, *, after: str | None = None) -> AsyncEvents:
        """The events of a request behind the cursor `after`, live to its end."""

        async def last_event(cursor: str | None) -> Event:
            return end_of(await self.get(request_id), cursor)

        path = f"{address.request_path(request_id)}/stream"
        return self._events(path, after, last_event)

    def follow_conversation(self, conversation_id: str, *, after: str | None = None) -> AsyncEvents:
        """The events of a conversation's requests, one after the other, including future ones.

        The stream does not end by itself. `Event.request_id` tells the requests apart. A
        conversation that does not exist yet is waited for.
        """
        return self._events(f"{address.conversation_path(conversation_id)}/stream", after, None)

    def _events(self, path: str, after: str | None, last_event: Any) -> AsyncEvents:
        return AsyncEvents(
            self._transport,
            path,
            after,
            last_event=last_event,
            notify=self.notify,
            timing=self.timing,
        )

    async def cancel(self, request_id: str) -> str:
        """End a request, keep its text, and return its status: `cancelled` if this call ended it.

        A request that had ended before keeps its status. The call is safe to repeat.
        """
        # A JSON body, because an API without keys accepts no other POST.
        path = f"{address.request_path(request_id)}/cancel"
        return (await self._call(Submitted, "POST", path, json={})).status

    async def get(self, request_id: str) -> Request:
        """The present state of a request, with its text so far."""
        return await self._call(Request, "GET", address.request_path(request_id))

    async def erase(self, request_id: str) -> None:
        """Cancel a request, and erase it with its prompt and its answer."""
        await self._call(type(None), "DELETE", address.request_path(request_id))

    async def requests(
        self,
        *,
        conversation_id: str | None = None,
        status: str | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> RequestPage:
        """A page of the requests that have not expired, newest first."""
        query = {"conversation_id": conversation_id, "status": status, "after": after}
        return await self._get(RequestPage, "/chat", limit=limit, **query)

    async def conversations(
        self, *, query: str | None = None, limit: int = 20, after: str | None = None
    ) -> ConversationPage:
        """A page of the conversations, newest first; `query` searches their titles."""
        return await self._get(
            ConversationPage, "/conversations", limit=limit, q=query, after=after
        )

    async def conversation(
        self, conversation_id: str, *, limit: int | None = None, before: str | None = None
    ) -> Conversation:
        """A conversation with its turns: all, or the newest `limit` in front of `before`."""
        path = address.conversation_path(conversation_id)
        return await self._get(Conversation, path, limit=limit, before=before)

    async def rename_conversation(self, conversation_id: str, title: str) -> None:
        """Set the title of a conversation."""
        path = address.conversation_path(conversation_id)
        await self._call(object, "PATCH", path, json={"title": title})

    async def delete_conversation(self, conversation_id: str) -> None:
        """Cancel the active requests of a conversation, and erase it with all its requests."""
        await self._call(type(None), "DELETE", address.conversation_path(conversation_id))

    async def delete_turn(self, conversation_id: str, request_id: str) -> None:
        """Cancel a request of a conversation and erase its turn; turns that follow it stay."""
        path = f"{address.conversation_path(conversation_id)}/turns/{address.quoted(request_id)}"
        await self._call(type(None), "DELETE", path)

    async def roles(self) -> list[Role]:
        """The roles of the server, sorted by name, without their messages."""
        return (await self._call(ListedRoles, "GET", "/roles")).roles

    async def role(self, name: str) -> Role:
        """A role with its messages."""
        return await self._call(Role, "GET", f"/roles/{address.quoted(name)}")

    async def models(self) -> list[str]:
        """The names of the models of the upstream."""
        listed = await self._call(ListedModels, "GET", "/v1/models")
        return [model.id for model in listed.data if not model.id.startswith("role:")]

    async def get_json(self, path: str) -> dict[str, Any]:
        """The JSON object at a path of the API, for what this class has no method for."""
        return await self._call(dict[str, Any], "GET", path)

    async def is_ready(self, limit_s: float = 2.0) -> bool:
        """Whether the API accepts requests now; False if it does not answer within `limit_s`."""
        return await self._transport.answers("/readyz", limit_s)

    async def _get(self, kind: type[T], path: str, **query: str | int | None) -> T:
        params = {name: str(value) for name, value in query.items() if value is not None}
        return await self._call(kind, "GET", path, params=params)

    async def _call(self, kind: type[T], method: str, path: str, **options: Any) -> T:
        outage = Outage(self.timing, self.timing.call_patience_s)
        while True:
            try:
                answer = await self._transport.call(kind, method, path, **options)
            except ApiUnreachable as error:
                now_s = time.monotonic()
                wait_s = outage.wait_s(error, now_s)
                if wait_s is None:
                    raise
                if outage.is_news(now_s + wait_s):
                    self.notify(f"{self.display_url}: {error}; retrying")
                await asyncio.sleep(wait_s)
            else:
                return answer


def end_of(request: Request, cursor: str | None) -> Event:
    """Pure: the last event of a request whose log has no more events."""
    data: Mapping[str, Any] = {"finish_reason": request.finish_reason, "usage": request.usage}
    if request.status == "failed" and request.error is not None:
        data = {"code": request.error.code, "message": request.error.message}
    return Event(request.status, dict(data), cursor)
