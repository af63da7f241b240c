"""The caller of a request over HTTP, and the interface of what recognizes callers.

The keys of the settings are the first implementation. A host application passes its own one to
`create_app`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, get_args

from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope

from tickertape.api.edge.heads import header_of
from tickertape.api.edge.problems import Problem
from tickertape.api.fanout.permit import Permit
from tickertape.broker.principals import OPEN_TENANT, principal_of

CallScope: TypeAlias = Literal["submit", "read", "cancel", "erase", "list", "metrics", "admin"]
"""What a caller may do. `edge/route_scopes.py` says which routes need which scope.

A caller with `submit` also gets the answers of its own calls, and the model's view of the
conversations that these calls name.
"""

ALL_SCOPES: frozenset[CallScope] = frozenset(get_args(CallScope))


@dataclass(frozen=True)
class Only:
    """The one object that a caller with a ticket may reach."""

    kind: Literal["chat", "conversation"]
    object_id: str

    def allows(self, method: str, path: str) -> bool:
        """Whether a call reaches this object, or says in its body which object it reaches."""
        own = f"/{'chat' if self.kind == 'chat' else 'conversations'}/{self.object_id}"
        if method in {"GET", "HEAD"}:
            # The path of a conversation "a/stream" is that of the stream of "a".
            return path == f"{own}/stream" or (path == own and not own.endswith("/stream"))
        if self.kind == "chat":
            return method == "POST" and path == f"{own}/cancel"
        # `Caller.require_conversation` checks these.
        is_cancel = path.startswith("/chat/") and path.endswith("/cancel")
        return method == "POST" and (path in {"/chat", "/streams", "/agui"} or is_cancel)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whose call this is, and what the call may do.

    `key_id` names the key for logs, without its secret. `user` is the end user of the tenant, None
    if the key is the tenant's own, whose data is not that of its users. `models` are the models
    that the caller may name, None for all. `only` is the object that a ticket is
    for. The streams of the call end together with `permit`.
    """

    tenant: str
    key_id: str | None = None
    user: str | None = None
    scopes: frozenset[CallScope] = ALL_SCOPES
    models: frozenset[str] | None = None
    only: Only | None = None
    permit: Permit | None = field(default=None, compare=False, repr=False)

    def acting_for(self, user: str) -> "Caller":
        """The caller as this user of its tenant. `dataclasses.replace` takes ten times as long."""
        acting = object.__new__(Caller)
        vars(acting).update(vars(self), user=user)
        return acting

    @property
    def principal(self) -> str:
        """The name under which the data of this caller is kept; no other caller's data has it."""
        return principal_of(self.tenant, self.user)

    def require_conversation(self, conversation_id: str | None) -> None:
        """Raise Problem 403 if the caller has a ticket for another object."""
        if self.only is None:
            return
        if not conversation_id or self.only != Only("conversation", conversation_id):
            raise other_object()

    def require(self, scope: CallScope) -> None:
        """Raise Problem 403 unless the caller has the scope."""
        if scope not in self.scopes:
            raise Problem(
                403,
                "missing_scope",
                f"This call needs the scope `{scope}`, which its key does not have. "
                "Use a key with this scope.",
            )

    def require_permit(self) -> None:
        """Raise Problem 401 if the key, ticket or token was taken back since the call began."""
        if self.permit is not None and self.permit.is_over:
            raise taken_back()

    def may_use(self, model: str | None) -> bool:
        """Whether the caller may use the model; None is the server's default."""
        return self.models is None or model in self.models

    def require_model(self, model: str | None) -> None:
        """Raise Problem 403 unless the caller may use the model; None is the server's default."""
        if self.models is not None and not self.may_use(model):
            raise Problem(
                403,
                "model_not_allowed",
                f"This key may use these models only: {', '.join(sorted(self.models))}. "
                "Name one of them in `model`.",
                param="model",
            )


EVERYBODY = Caller(tenant=OPEN_TENANT)
"""The caller of each call of an open API."""


class Call:
    """The head of a call, as an authenticator sees it. Names of headers are in any case."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def headers(self) -> Mapping[str, str]:
        """All headers."""
        return Headers(scope=self._scope)

    def header(self, name: bytes) -> str | None:
        """The first header of a name in lower case: ten times as fast as `headers`."""
        return header_of(self._scope, name)

    @property
    def method(self) -> str:
        """The method, in upper case."""
        return str(self._scope["method"])

    @property
    def path(self) -> str:
        """The path, decoded."""
        return str(self._scope["path"])

    @property
    def query(self) -> Mapping[str, str]:
        """The query, decoded."""
        return QueryParams(self._scope["query_string"])

    @property
    def address(self) -> str:
        """The address of the client, behind trusted proxies; empty if it is not known."""
        client = self._scope.get("client")
        return client[0] if client else ""


class Authenticator(Protocol):
    """Recognizes the caller of each call that is not public, before the body is read."""

    async def __call__(self, call: Call) -> Caller:
        """The caller. Raises Problem 401 for an unknown caller, and 403 for a forbidden call."""
        ...


class Unrecognized(Problem):
    """The refusal of a wrong key, ticket or token. An address that gets many is slowed down."""

    def __init__(self, code: str, message: str, scheme: str = "Bearer") -> None:
        super().__init__(401, code, message, headers={"WWW-Authenticate": scheme})


def taken_back() -> Problem:
    """The refusal of a call whose key, ticket or token was valid when the call began."""
    message = "The key, ticket or token of this call has expired or was revoked: use a valid one."
    return Unrecognized("invalid_api_key", message)


def other_object() -> Problem:
    """The refusal of a call that a ticket is not for."""
    return Problem(403, "ticket_mismatch", "This ticket is for another object, or for other calls.")
