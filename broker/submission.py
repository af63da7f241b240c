"""A request as the API hands it over to the broker."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

import msgspec

from tickertape.broker import codec, keys
from tickertape.broker.kinds import OnBusy, Policy
from tickertape.broker.pools import UPSTREAM
from tickertape.broker.rates import RateLimit, RateRest
from tickertape.broker.retention import Keep
from tickertape.broker.titles import title_of
from tickertape.broker.turns import Links


class Encoded(NamedTuple):
    """What a submission adds to the memory of Redis."""

    payload: bytes
    queued: bytes
    question: bytes
    title: str

    @property
    def size(self) -> int:
        """The bytes as submit.lua counts them."""
        return len(self.payload) + len(self.queued) + len(self.question)


class Tries(NamedTuple):
    """The calls of one caller with one body; `is_retry` for one that an SDK repeats by itself."""

    name: str
    is_retry: bool


@dataclass(frozen=True)
class Submission:
    """A request as the API accepted it.

    `payload` is for the worker (JSON), and `head` for readers of the request, beside its log.
    `echo` is in the log only, for the wire of the submit. `question` has the caller's new messages,
    which the conversation remembers together with `links`. `options` are shown in the list of
    conversations. `weight` is the tenant's share of the workers beside other tenants, empty for 1.
    `tenant_limit` replaces that of the settings, and `user_limit` is that of the user, if there is
    one. `kept_limit` is how many bytes the tenant may keep. `rates` are the limits that the request
    uses up, and `input_tokens` estimates its prompt.
    `format` is the lowest format of a worker that can run the request. `near` is a request whose
    partition this one should share, if its conversation and its key do not choose another one.
    `tries` lets a call that an SDK repeats find the request of an earlier one, if there is neither
    a conversation nor an idempotency key. `trace` is the context of the trace that the request
    belongs to (runtime/tracing.py), empty without one. `pool` is the function that answers the
    request, empty for the upstream. `run_id` is the client's name of the request: a submit with the
    same one and the same conversation finds the request, whatever else differs.
    """

    tenant: str
    payload: dict[str, Any]
    head: dict[str, Any] = field(default_factory=dict)
    echo: dict[str, Any] | None = None
    question: list[dict[str, Any]] = field(default_factory=list)
    links: Links = field(default_factory=Links)
    options: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    on_interruption: Policy = "restart"
    conversation_id: str | None = None
    on_busy: OnBusy = "queue"
    idempotency_key: str | None = None
    tries: Tries | None = None
    fingerprint: str = ""
    run_id: str | None = None
    format: int = 1
    weight: str = ""
    tenant_limit: int | None = None
    user_limit: int | None = None
    kept_limit: int | None = None
    rates: tuple[RateLimit, ...] = ()
    input_tokens: int = 0
    keep: Keep = field(default_factory=Keep)
    near: str | None = None
    trace: str = ""
    pool: str = UPSTREAM

    @property
    def needed_format(self) -> int:
        """The lowest format of a worker that can run the request, which knows its pool."""
        return self.format if self.pool == UPSTREAM else max(self.format, codec.FUNCTION_FORMAT)

    def limited(self, **limits: Any) -> Self:
        """The submission with other fields for its limits; it is not encoded again.

        `dataclasses.replace` takes ten times as long.
        """
        encoded = self.encoded
        limited = object.__new__(type(self))
        vars(limited).update(vars(self), encoded=encoded, **limits)
        return limited

    @cached_property
    def encoded(self) -> Encoded:
        """The form in Redis, made once. A body of 20 MB takes 100 ms."""
        has_conversation = self.conversation_id is not None
        queued = {"v": codec.VERSION, **self.head}
        # Scripts read the policy from the hash, a worker from the payload.
        payload = {**self.payload, "on_interruption": self.on_interruption}
        if has_conversation:
            queued["messages"] = self.question
        if self.echo is not None:
            queued["echo"] = self.echo
        return Encoded(
            msgspec.json.encode(payload),
            codec.encode_data("queued", queued),
            msgspec.json.encode(self.question) if has_conversation else b"",
            title_of(self.question) if has_conversation else "",
        )


@dataclass(frozen=True)
class Submitted:
    """`is_new` is false when the request of an earlier call was found, by its key or its tries.

    `rests` is what is left of the limits of a new request.
    """

    request_id: str
    is_new: bool
    rests: tuple[RateRest, ...] = ()


def conversation_key(tenant: str, conversation_id: str | None) -> str:
    """The short name of a tenant's conversation in keys; empty without one."""
    return keys.digest(tenant, conversation_id) if conversation_id is not None else ""
