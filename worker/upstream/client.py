"""The upstream client.

The SDK does addresses, authorization and HTTP errors. Its retries are off, since worker/retry.py
decides, and its typed chunks, which cost ten times all the rest, are not used. Nothing here logs,
and no message of an error holds a key or a prompt.
"""

import asyncio
import contextlib
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
import openai
from openai import AsyncOpenAI, AsyncStream

from tickertape.worker.upstream.address import parse_address
from tickertape.worker.upstream.answer_stream import AnswerStream, Body, Limits
from tickertape.worker.upstream.chunk_json import decode_error
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.continuation import can_be_continued, continue_request
from tickertape.worker.upstream.error_reports import error_from, read_report
from tickertape.worker.upstream.errors import (
    NoModelList,
    Rejected,
    Stalled,
    Truncated,
    Unreachable,
    UpstreamError,
    UpstreamFault,
    UpstreamGarbage,
)
from tickertape.worker.upstream.model_list import known_contexts
from tickertape.worker.upstream.profiles import Profile, profile_for
from tickertape.worker.upstream.redaction import redacted
from tickertape.worker.upstream.request_adapter import RequestAdapter
from tickertape.worker.upstream.retry_after import retry_after_s
from tickertape.worker.upstream.sdk_client import make_client
from tickertape.worker.upstream.sse import SSEDecoder
from tickertape.worker.upstream.surrogates import scrubbed
from tickertape.worker.upstream.tally import Tally

MODELS_S = 15.0

_EVENT_STARTS = (b"data:", b"event:", b"error:")
# Some servers that answer chats well have no such path.
_NO_SUCH_LIST = frozenset({404, 405, 501})
_NO_KEY = "none"  # the SDK refuses an empty key, keyless servers ignore any


class Upstream:
    """One OpenAI-compatible server: an async context manager; any number of streams at a time.

    Without `base_url` it is the SDK's default. `model` is for requests that name none; `profile`
    says what is otherwise guessed from the address and the model list.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        model: str | None = None,
        profile: str | None = None,
    ) -> None:
        self.model = model
        self._address = parse_address(base_url)
        self.profile: Profile = profile_for(profile, self._address.url or "")
        self._api_key = api_key or _NO_KEY
        self._profile_name = profile
        self._dialect = RequestAdapter()
        self._context_tokens: dict[str, int] = {}
        self._client: AsyncOpenAI

    async def __aenter__(self) -> Self:
        self._client = make_client(self._address, self._api_key)
        self.profile = self._profile()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client.close()

    def can_continue(self, payload: dict[str, Any], tally: Tally) -> bool:
        """Whether `stream` can go on from what `tally` has."""
        has_text = tally.has_output and tally.has_only_text
        return has_text and self.profile.can_continue and can_be_continued(payload)

    def stream(
        self,
        payload: dict[str, Any],
        tally: Tally,
        limits: Limits | None = None,
        *,
        request_id: str = "",
    ) -> AnswerStream:
        """The answer to `payload`, the body of a chat completion request; see AnswerStream.

        The body is sent in the upstream's words, unknown fields as they are, with `stream`, the
        request for usage and the default model added. A tally that has text makes the upstream go
        on from it: ask `can_continue` first.
        """
        echo = ""
        if tally.has_output:
            payload = continue_request(self.profile, payload, tally.text, tally.deltas)
            echo = tally.text if self.profile.may_echo else ""
        sent: dict[str, Any] = {}
        reader = ChunkReader(
            tally,
            echo,
            lambda said: self._refusal_in_stream(said, sent),
            request_id=request_id,
        )
        return AnswerStream(lambda: self._open(payload, sent), reader, limits or Limits())

    def context_tokens(self, model: str | None) -> int | None:
        """The context of a model (the default one for None) in tokens, where the upstream tells."""
        return self._context_tokens.get(model or self.model or "")

    async def list_models(self) -> list[dict[str, Any]]:
        """The upstream's models as it describes them, each with an `id`; may refine `profile`.

        Whatever it says can be encoded again.

        Raises UpstreamError. Called at start, it also takes the cost of the SDK's first call off
        the first request.
        """
        try:
            async with asyncio.timeout(MODELS_S):
                with self._errors_mapped({}):
                    models = _models(await self._get_models())
        except TimeoutError:
            raise Stalled("The upstream did not list its models in time.") from None
        except RecursionError:
            raise UpstreamGarbage("The upstream's list of models is nested too deeply.") from None
        self._context_tokens = known_contexts(models)
        self.profile = self._profile(str(model.get("owned_by")) for model in models)
        return models

    def _profile(self, owners: Iterable[str] = ()) -> Profile:
        return profile_for(self._profile_name, str(self._client.base_url), owners)

    async def _get_models(self) -> object:
        try:
            return await self._client.get("/models", cast_to=object)
        except openai.APIStatusError as error:
            if error.status_code in _NO_SUCH_LIST:
                raise NoModelList from None
            raise

    async def _open(self, payload: dict[str, Any], sent: dict[str, Any]) -> Body:
        """The body of the answer to `payload`; `sent` becomes what was asked in the end."""
        mended: set[str] = set()
        while True:
            sent.clear()
            sent |= self._dialect.body(self.profile, payload, self.model)
            try:
                return await self._post(sent)
            except (_FieldRefused, _HungUp) as error:
                if error.cause in mended:
                    raise
                mended.add(error.cause)

    async def _post(self, body: dict[str, Any]) -> Body:
        with self._errors_mapped(body):
            stream = await self._client.post(
                "/chat/completions",
                cast_to=object,
                body=body,
                stream=True,
                stream_cls=AsyncStream[object],
            )
        return stream.response

    @contextlib.contextmanager
    def _errors_mapped(self, body: dict[str, Any]) -> Iterator[None]:
        """Raise an UpstreamError for what the SDK raises: its own hold the request with the key."""
        try:
            yield
        except openai.APIStatusError as error:
            raise self._from_status(error, body) from None
        except openai.APIConnectionError as error:
            raise _unreachable(error) from None
        except UnicodeEncodeError:
            raise Rejected("The request holds text that cannot be encoded as UTF-8.") from None
        except (openai.OpenAIError, aiohttp.ClientError, ValueError):
            raise UpstreamGarbage("The upstream's answer is not HTTP, or not JSON.") from None
        except Exception as error:
            # The SDK lets through what the body of an HTTP error raises while it is read.
            if _cause_of(error, aiohttp.ClientError) is not None:
                raise Truncated("The upstream broke an error response off.") from None
            if _cause_of(error, zlib.error) is not None:
                raise UpstreamGarbage("The upstream's error cannot be decompressed.") from None
            raise

    def _from_status(self, error: openai.APIStatusError, body: dict[str, Any]) -> UpstreamError:
        wait_s = retry_after_s(error.response.headers, datetime.now(UTC))
        return self._refusal(_body_of(error), body, error.status_code, wait_s)

    def _refusal(
        self,
        said: object,
        body: dict[str, Any],
        status: int | None = None,
        wait_s: float | None = None,
    ) -> UpstreamError:
        """The error for what was said to a request: with an HTTP status, or in a stream."""
        report = read_report(said)
        message = redacted(
            report.message,
            secrets=(self._api_key, *self._address.passwords),
            payload=body,
        )
        is_about_fields = (status or report.status or report.word_status) in {400, 422}
        if is_about_fields and (field := self._dialect.learn(body, said, report.message)):
            return _FieldRefused(message, field)
        return error_from(report, status=status, message=message, retry_after_s=wait_s)

    def _refusal_in_stream(self, said: object, body: dict[str, Any]) -> UpstreamError:
        error = self._refusal(said, body)
        # The next try puts it otherwise, and it is the queue that tries again.
        return UpstreamFault(error.message) if isinstance(error, _FieldRefused) else error


class _FieldRefused(Rejected):
    """The upstream does not know a field, and is asked otherwise from now on."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.cause = field


class _HungUp(Unreachable):
    """The upstream closed the connection instead of answering.

    Most likely it was closing a connection kept from an earlier answer, just as we used it once
    more. llama.cpp does so after every stream.
    """

    cause = "connection"

    def __init__(self) -> None:
        super().__init__("The upstream closed the connection instead of answering.")


def _body_of(error: openai.APIStatusError) -> object:
    """The whole body: the SDK keeps only what is in its `error`, if it has one."""
    body = error.response.content.strip()
    if body.startswith(_EVENT_STARTS):  # some write their error as the stream that was asked for
        body = next(iter(SSEDecoder().feed(body + b"\n\n")), b"")
    return decode_error(body)


def _models(answer: object) -> list[dict[str, Any]]:
    listed = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise UpstreamGarbage("The upstream's list of models is not one.")
    return [scrubbed(model) for model in listed if isinstance(model, dict) and model.get("id")]


def _unreachable(error: openai.APIConnectionError) -> Unreachable:
    # The SDK's HTTP layer calls both a time-out; below it, aiohttp tells them apart.
    cause = _cause_of(error, aiohttp.ClientError)
    lost = isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    had_connected = not isinstance(cause, aiohttp.ClientConnectorError)
    return _HungUp() if lost and had_connected else Unreachable()


def _cause_of(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The first error of a kind among an error and its causes."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, kind):
        cause = cause.__cause__
    return cause
