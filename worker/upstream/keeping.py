"""Answers that an upstream keeps, and goes on with, while nobody reads them.

Such an answer has an id. Whoever knows the id can read the answer from its first token, or end it.
Leaving the connection ends nothing.
"""

import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol
from urllib.parse import quote

from tickertape.worker.upstream.answer_stream import AnswerStream, Limits
from tickertape.worker.upstream.asking import Call
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.responses_events import ResponsesReader
from tickertape.worker.upstream.responses_request import can_be_response, response_body
from tickertape.worker.upstream.tally import Tally

Resume = Literal["responses", "llama.cpp"]
OnKept = Callable[[str], None]


class Keeping(Protocol):
    """How one upstream keeps its answers."""

    def takes(self, payload: dict[str, Any]) -> bool:
        """Whether the answer to a request can be kept."""
        ...

    def ask(
        self,
        payload: dict[str, Any],
        tally: Tally,
        limits: Limits,
        *,
        request_id: str,
        on_kept: OnKept,
    ) -> AnswerStream:
        """The answer, as Upstream.stream. `on_kept` gets the id, mostly before the first token."""
        ...

    def attach(
        self, kept_id: str, tally: Tally, limits: Limits, *, request_id: str
    ) -> AnswerStream:
        """An answer from its first token on. Raises Truncated if the upstream does not have it."""
        ...

    async def end(self, kept_id: str) -> None:
        """End the generation of an answer. Raises UpstreamError."""
        ...


def keeping_of(resume: Resume | None, upstream: Upstream) -> Keeping | None:
    """How an upstream keeps its answers, by the setting of its row; None if it keeps none."""
    match resume:
        case "responses":
            return BackgroundResponses(upstream)
        case "llama.cpp":
            return LlamaStreams(upstream)
    return None


class BackgroundResponses:
    """Background responses of OpenAI, and of others with the same API.

    https://developers.openai.com/api/docs/guides/background
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def takes(self, payload: dict[str, Any]) -> bool:
        """Whether a response can be asked for all that the request asks for."""
        return can_be_response(self._upstream.fitted(payload))

    def ask(
        self,
        payload: dict[str, Any],
        tally: Tally,
        limits: Limits,
        *,
        request_id: str,
        on_kept: OnKept,
    ) -> AnswerStream:
        """The answer as a background response."""
        call = Call("/responses", fit=response_body, reader=partial(ResponsesReader, on_id=on_kept))
        return self._upstream.ask(call, payload, tally, limits, request_id=request_id)

    def attach(
        self, kept_id: str, tally: Tally, limits: Limits, *, request_id: str
    ) -> AnswerStream:
        """The events of a response behind the first one, which has the number 0."""
        reader = ResponsesReader(tally, request_id=request_id)
        params = {"stream": "true", "starting_after": "0"}
        return self._upstream.replay(
            f"/responses/{quote(kept_id, safe='')}", params, reader, limits
        )

    async def end(self, kept_id: str) -> None:
        """Cancel a response."""
        await self._upstream.command("POST", f"/responses/{quote(kept_id, safe='')}/cancel")


class LlamaStreams:
    """The replay buffer of llama-server: the bytes of a stream, under an id of the caller.

    https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README-dev.md
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def takes(self, payload: dict[str, Any]) -> bool:
        """Every stream has a buffer."""
        del payload
        return True

    def ask(
        self,
        payload: dict[str, Any],
        tally: Tally,
        limits: Limits,
        *,
        request_id: str,
        on_kept: OnKept,
    ) -> AnswerStream:
        """The answer of a stream with a buffer."""
        kept_id = secrets.token_hex(16)
        on_kept(kept_id)
        call = Call(headers={"X-Conversation-Id": kept_id})
        return self._upstream.ask(call, payload, tally, limits, request_id=request_id)

    def attach(
        self, kept_id: str, tally: Tally, limits: Limits, *, request_id: str
    ) -> AnswerStream:
        """All bytes of the buffer, and those to come."""
        reader = ChunkReader(tally, request_id=request_id)
        params = {"conv_id": kept_id, "from": "0"}
        return self._upstream.replay("/stream", params, reader, limits)

    async def end(self, kept_id: str) -> None:
        """Stop the generation and drop its buffer."""
        await self._upstream.command("DELETE", "/stream", {"conv_id": kept_id})
