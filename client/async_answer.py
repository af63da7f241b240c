"""The answer of one request, for programs that run an event loop."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from tickertape.client.errors import AnswerIncomplete, AnswerRestarted
from tickertape.client.fold import Ended, Folded, TextAdded, TextCleared
from tickertape.client.results import Answered, Request
from tickertape.client.stream import AsyncEvents

if TYPE_CHECKING:
    from tickertape.client.async_client import AsyncClient


class AsyncAnswer:
    """Reads one answer, as often as wanted. Nothing here disturbs the request, except `cancel`."""

    def __init__(
        self, client: "AsyncClient", request_id: str, conversation_id: str | None = None
    ) -> None:
        self.request_id = request_id
        self.conversation_id = conversation_id
        self._client = client

    @property
    def text(self) -> AsyncGenerator[str]:
        """The pieces of the answer's text as the model writes them, from the beginning.

        Raises AnswerRestarted if the answer starts over after a piece was yielded, because yielded
        text cannot be taken back: use `wait` or `events` where that matters. Raises
        AnswerIncomplete if the request fails or is cancelled, so no part passes for the whole.
        """
        return self._texts()

    async def _texts(self) -> AsyncGenerator[str]:
        folded = Folded()
        async with self.events() as events:
            async for event in events:
                for change in folded.apply(event):
                    match change:
                        case TextAdded(text):
                            yield text
                        case TextCleared(reason):
                            raise AnswerRestarted(f"the answer starts over ({reason})")
                        case Ended():
                            raise_if_incomplete(folded)

    def events(self, *, after: str | None = None) -> AsyncEvents:
        """The events of the request behind the cursor `after`, live to its end."""
        return self._client.follow(self.request_id, after=after)

    async def wait(self) -> Answered:
        """The complete answer. Raises AnswerIncomplete if the request does not complete."""
        folded = Folded()
        async with self.events() as events:
            async for event in events:
                folded.apply(event)
        return answered(self.request_id, folded)

    async def get(self) -> Request:
        """The present state of the request, with its text so far."""
        return await self._client.get(self.request_id)

    async def cancel(self) -> str:
        """End the request, keep its text, and return its status."""
        return await self._client.cancel(self.request_id)


def answered(request_id: str, folded: Folded) -> Answered:
    """Pure: the complete answer. Raises AnswerIncomplete."""
    end = raise_if_incomplete(folded)
    return Answered(
        request_id=request_id,
        text=folded.text,
        reasoning=folded.reasoning,
        model=folded.model,
        finish_reason=end.finish_reason,
        usage=folded.usage,
    )


def raise_if_incomplete(folded: Folded) -> Ended:
    """Pure: the end of a request that completed. Raises AnswerIncomplete for every other end."""
    end = folded.end or Ended("gone", message="the stream ended before the request")
    if end.status != "completed" or end.code is not None:
        reason = end.message or f"the request was {end.status}"
        raise AnswerIncomplete(end.status, reason, end.code, folded.text)
    return end
