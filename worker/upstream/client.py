"""The client of one upstream.

The SDK handles addresses, authorization and HTTP errors. Its retries are off, because
worker/retry.py decides about retries. Its typed chunks are not used, because they cost ten times as
much as all other work. This module logs nothing, and its error messages contain no key and no
prompt.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Self

import msgspec
from openai import AsyncOpenAI, AsyncStream
from openai._models import FinalRequestOptions

from tickertape.broker.errors import SettingsInvalid
from tickertape.worker.upstream.address import checked_upstream_url, parse_address
from tickertape.worker.upstream.answer_stream import AnswerStream, Body, Limits
from tickertape.worker.upstream.asking import Call
from tickertape.worker.upstream.cache_isolation import is_separate, without_cached_counts
from tickertape.worker.upstream.call_errors import FAULT_OF_FIELDS, CallErrors, FieldRefused
from tickertape.worker.upstream.chunk_json import decode_error
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.connection_errors import HungUp
from tickertape.worker.upstream.continuation import can_be_continued, continue_request
from tickertape.worker.upstream.error_responses import ErrorResponse, read_bounded
from tickertape.worker.upstream.errors import (
    NoModelList,
    Rejected,
    Stalled,
    Truncated,
    UpstreamGarbage,
)
from tickertape.worker.upstream.http_client import PUSHED_BODY, SAME_CALL, SameCall
from tickertape.worker.upstream.inner_names import without_inner_names
from tickertape.worker.upstream.model_list import known_contexts, models_in
from tickertape.worker.upstream.profiles import Profile, profile_for
from tickertape.worker.upstream.pushed_body import PushedBody
from tickertape.worker.upstream.request_adapter import RequestAdapter
from tickertape.worker.upstream.sdk_client import make_client, with_account, with_key
from tickertape.worker.upstream.tally import Tally

# Some good servers have no list of models, and answer with one of these.
_NO_SUCH_LIST = frozenset({404, 405, 501})
_NO_SUCH_PATH = frozenset({404, 405})
_MAX_LIST_BYTES = 8 * 1024 * 1024
_MOST_EARLIER = 12
_NO_KEY = "none"  # the SDK refuses an empty key; servers without keys ignore this one


_USUAL = Call()


class Upstream:
    """One OpenAI-compatible server: an async context manager, for any number of streams at a time.

    `base_url` defaults to the SDK's. `model` is for requests without a model. `profile` names the
    upstream's family, which is otherwise found by the address and the model list. The model list
    must arrive within `models_limit_s`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        model: str | None = None,
        profile: str | None = None,
        models_limit_s: float = 15.0,
    ) -> None:
        self._models_limit_s = models_limit_s
        self.model = model
        self._address = parse_address(base_url)
        self.profile: Profile = profile_for(profile, self._address.url or "")
        self._api_key = api_key or _NO_KEY
        # No message may quote them: calls that began with an earlier one may still be answered.
        self._earlier_secrets: tuple[str, ...] = ()
        self._profile_name = profile
        self._adapter = RequestAdapter()
        self._errors = CallErrors(self._adapter, self._secrets)
        self._context_tokens: dict[str, int] = {}
        self._client: AsyncOpenAI
        # The call that the SDK has made, for all others of the same client.
        self._call: SameCall | None = None

    async def __aenter__(self) -> Self:
        self._client = make_client(self._address, self._api_key)
        self.profile = self._profile()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client.close()

    async def use_key(self, api_key: str) -> None:
        """Call with this key from now on; calls that are under way keep theirs.

        Raises SettingsInvalid if the upstream refuses the key. An upstream that cannot be asked
        gets the key.
        """
        self._client = await with_key(self._client, api_key, self._models_limit_s)
        self._call = None
        self._keep_secret(self._api_key)
        self._api_key = api_key

    async def use_account(self, base_url: str) -> None:
        """Call with the account in this address from now on; calls under way keep theirs.

        Raises SettingsInvalid if the rest of the address differs.
        """
        address = parse_address(checked_upstream_url(base_url))
        if address.url != self._address.url:
            raise SettingsInvalid("the file names another upstream: restart the worker to use it")
        self._client = with_account(self._client, address)
        self._call = None
        self._keep_secret(*self._address.passwords)
        self._address = address

    @property
    def url(self) -> str | None:
        """The address without its account; None for that of the SDK."""
        return self._address.url

    @property
    def continues(self) -> bool:
        """Whether the upstream's family continues partial answers."""
        return self.profile.can_continue

    def can_continue(self, payload: dict[str, Any], tally: Tally) -> bool:
        """Whether `stream` can continue the output in `tally`."""
        has_text = tally.has_output and tally.has_only_text
        return has_text and self.profile.can_continue and can_be_continued(payload)

    def shown_usage(self, payload: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        """The usage without the counts by which one tenant could find out another's prompt."""
        is_shared = "cache_key" in payload and not (
            is_separate(self.profile.name) and self._adapter.takes_cache_field
        )
        return without_cached_counts(usage) if is_shared else usage

    def stream(
        self,
        payload: dict[str, Any],
        tally: Tally,
        limits: Limits | None = None,
        *,
        request_id: str = "",
    ) -> AnswerStream:
        """The answer to `payload`, the body of a chat completion request; see AnswerStream.

        The body is sent in the form that the upstream accepts, with `stream`, the request for usage
        and the default model added. Unknown fields are sent as they are. If `tally` has text, the
        upstream continues that text; check `can_continue` first.
        """
        return self.ask(_USUAL, payload, tally, limits, request_id=request_id)

    def ask(
        self,
        call: Call,
        payload: dict[str, Any],
        tally: Tally,
        limits: Limits | None,
        *,
        request_id: str,
    ) -> AnswerStream:
        """As `stream`, for an answer that is asked for in another way."""
        echo = ""
        if tally.has_output:
            payload = continue_request(self.profile, payload, tally.text, tally.deltas)
            echo = tally.text if self.profile.may_echo else ""
        sent: dict[str, Any] = {}
        reader = call.reader(
            tally,
            echo,
            lambda report: self._errors.in_stream(report, sent),
            request_id=request_id,
        )
        return AnswerStream(lambda: self._open(payload, sent, call), reader, limits or Limits())

    def fitted(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The body that the upstream gets for a payload, as far as is known before the call."""
        return self._adapter.adapt(self.profile, payload, self.model)

    def replay(
        self, path: str, params: Mapping[str, str], reader: ChunkReader, limits: Limits
    ) -> AnswerStream:
        """An answer that the upstream keeps, read from this path.

        Opening it raises Truncated if the upstream does not have the answer.
        """
        return AnswerStream(lambda: self._get(path, params), reader, limits)

    async def command(
        self, method: str, path: str, params: Mapping[str, str] | None = None
    ) -> None:
        """Make a call whose answer is not read. Raises UpstreamError."""
        options = FinalRequestOptions.construct(method=method, url=path, params=dict(params or {}))
        try:
            async with asyncio.timeout(self._models_limit_s):
                with self._errors.mapped({}):
                    stream = await self._client.request(
                        object, options, stream=True, stream_cls=AsyncStream[object]
                    )
                await stream.response.aclose()
        except TimeoutError:
            raise Stalled from None

    def context_tokens(self, model: str | None) -> int | None:
        """The context of a model in tokens, if the upstream lists it. None is the default model."""
        return self._context_tokens.get(model or self.model or "")

    async def list_models(self) -> list[dict[str, Any]]:
        """The upstream's models as it describes them, each with an `id`.

        The result can be encoded as JSON. May set a more exact `profile`. Raises UpstreamError. A
        call at start-up also relieves the first request of the cost of the SDK's first call.
        """
        try:
            async with asyncio.timeout(self._models_limit_s):
                with self._errors.mapped({}):
                    models = models_in(decode_error(await self._get_models()))
        except TimeoutError:
            raise Stalled("The upstream did not list its models in time.") from None
        except RecursionError:
            raise UpstreamGarbage("The upstream's list of models is nested too deeply.") from None
        self._context_tokens = known_contexts(models)
        self.profile = self._profile(str(model.get("owned_by")) for model in models)
        # Every tenant may list the models.
        return [
            model | {"owned_by": without_inner_names(owner)}
            if isinstance(owner := model.get("owned_by"), str)
            else model
            for model in models
        ]

    async def has_chat(self) -> bool:
        """Whether the upstream knows the path of chat completions; true if it does not say.

        Asks without a prompt, which every server refuses.
        """
        try:
            async with asyncio.timeout(self._models_limit_s):
                await self._client.post("/chat/completions", cast_to=object, body={})
        except ErrorResponse as error:
            return error.status not in _NO_SUCH_PATH
        except Exception:  # noqa: BLE001  # the next list of models reports it
            return True
        return True

    def _secrets(self) -> tuple[str, ...]:
        return (self._api_key, *self._address.passwords, *self._earlier_secrets)

    def _keep_secret(self, *secrets: str) -> None:
        self._earlier_secrets = (*self._earlier_secrets, *secrets)[-_MOST_EARLIER:]

    def _profile(self, owners: Iterable[str] = ()) -> Profile:
        return profile_for(self._profile_name, str(self._client.base_url), owners)

    async def _get_models(self) -> bytes:
        # As a stream, because the SDK would read a body of any size.
        try:
            stream = await self._client.get(
                "/models", cast_to=object, stream=True, stream_cls=AsyncStream[object]
            )
        except ErrorResponse as error:
            if error.status in _NO_SUCH_LIST:
                raise NoModelList from None
            raise
        try:
            return await read_bounded(stream.response, _MAX_LIST_BYTES)
        finally:
            await stream.response.aclose()

    async def _get(self, path: str, params: Mapping[str, str]) -> Body | PushedBody:
        options: Any = {"params": dict(params)}
        try:
            with self._errors.mapped({}):
                stream = await self._client.get(
                    path,
                    cast_to=object,
                    options=options,
                    stream=True,
                    stream_cls=AsyncStream[object],
                )
        except Rejected:
            raise Truncated("The upstream does not have the answer any more.") from None
        return _body_of(stream)

    async def _open(
        self, payload: dict[str, Any], sent: dict[str, Any], call: Call
    ) -> Body | PushedBody:
        """The open response to `payload`; `sent` becomes the body that the upstream accepted."""
        retried: set[str] = set()
        while True:
            sent.clear()
            sent |= self._adapter.adapt(self.profile, payload, self.model)
            try:
                return await self._post(sent, call)
            except (FieldRefused, HungUp) as error:
                if error.cause in retried:
                    raise
                retried.add(error.cause)
            except Rejected as error:
                if error.status in FAULT_OF_FIELDS:
                    for refused in retried:
                        self._adapter.unlearn(sent, refused)
                raise

    async def _post(self, body: dict[str, Any], call: Call) -> Body | PushedBody:
        with self._errors.mapped(body):
            content = msgspec.json.encode(call.fit(body))
            is_usual = call is _USUAL
            if self._call is not None and is_usual:
                return await self._call.post(content)
            client = self._client
            stream = await client.post(
                call.path,
                cast_to=object,
                content=content,
                options={"headers": call.headers} if call.headers else {},
                stream=True,
                stream_cls=AsyncStream[object],
            )
        # The account may have been replaced meanwhile.
        if client is self._client and is_usual:
            self._call = stream.response.extensions.get(SAME_CALL)
        return _body_of(stream)


def _body_of(stream: AsyncStream[object]) -> Body | PushedBody:
    # Only an uncompressed body can be pushed. Others are read through the SDK's HTTP layer.
    pushed: PushedBody | None = stream.response.extensions.get(PUSHED_BODY)
    return pushed or stream.response
