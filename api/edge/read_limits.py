"""Limits what a tenant, and each of its users, reads from this process.

Open streams are counted with the calls that may become one. Bytes are those of the past: the log as
it is when its reader comes, whole documents, and all bytes of streams of conversations. They fill a
bucket that empties evenly. A read is let in while the bucket is not full, and counted afterwards,
so a large one is paid for by the reads that follow.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakSet

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tickertape.api.edge.caller import Caller
from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.route_scopes import needed_scope
from tickertape.api.edge.tenant_rules import TenantRulebook
from tickertape.api.fanout.reader import set_reader
from tickertape.broker.principals import principal_of

_MINUTE_S = 60.0
# Nobody knows when a stream ends.
_STREAM_RETRY_S = 5
# What is owed beyond a limit is paid by waiting, for an hour at most.
_MOST_OWED = 60
_FEW_ACCOUNTS = 1000


@dataclass
class _Account:
    """What a tenant or a user has open, and what it has read lately."""

    calls: int = 0
    connections: WeakSet[object] = field(default_factory=WeakSet)
    _level: float = 0
    _since_s: float = 0

    @property
    def streams(self) -> int:
        return self.calls + len(self.connections)

    def level(self, limit: int, now_s: float) -> float:
        """The bytes of the last minute that are not yet let go."""
        passed_s = max(0.0, now_s - self._since_s)
        return max(0.0, self._level - passed_s * limit / _MINUTE_S)

    def add(self, size: int, limit: int, now_s: float) -> None:
        self._level = min(self.level(limit, now_s) + size, _MOST_OWED * limit)
        self._since_s = now_s

    def is_idle(self, now_s: float) -> bool:
        return not self.streams and now_s - self._since_s > _MOST_OWED * _MINUTE_S


@dataclass(frozen=True)
class _Limited:
    """An account with its limits. A limit that is None does not exist."""

    account: _Account
    prefix: str
    streams: int | None
    replayed_bytes: int | None

    def require_stream(self) -> None:
        """Raise Problem 429 if as many streams are open as may be."""
        if self.streams is not None and self.account.streams >= self.streams:
            name = f"{self.prefix}streams"
            raise _reached(name, self.streams, "so many are open in this process", _STREAM_RETRY_S)

    def require_bytes(self, now_s: float) -> None:
        """Raise Problem 429 while the bytes of the last minute fill the limit."""
        limit = self.replayed_bytes
        if limit is None:
            return
        beyond = self.account.level(limit, now_s) - limit
        if beyond >= 0:
            wait_s = math.floor(beyond * _MINUTE_S / limit) + 1
            name = f"{self.prefix}replayed_bytes_per_minute"
            raise _reached(name, limit, "read less of what was written before", wait_s)


class _Call:
    """One call, which its account counts until it ends."""

    def __init__(self, limited: list[_Limited], clock: Callable[[], float]) -> None:
        self._limited = limited
        self._clock = clock
        self.counts_body = False

    def took(self, connection: object) -> None:
        for each in self._limited:
            each.account.connections.add(connection)

    def replayed(self, size: int) -> None:
        self.counts_body = False
        self.add(size)

    def add(self, size: int) -> None:
        for each in self._limited:
            if each.replayed_bytes is not None:
                each.account.add(size, each.replayed_bytes, self._clock())

    def count(self, change: int) -> None:
        for each in self._limited:
            each.account.calls += change


class ReadLimits:
    """An ASGI guard behind the one that recognizes callers. Tenants without such limits pass."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        forms: ErrorForms,
        rules: TenantRulebook,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._forms = forms
        self._rules = rules
        self._clock = clock
        self._accounts: dict[str, _Account] = {}
        self._prune_at = _FEW_ACCOUNTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller | None = scope.get("state", {}).get("caller")
        if scope["type"] != "http" or caller is None:
            await self._app(scope, receive, send)
            return
        limited = self._limited(caller)
        is_read, may_stream = (
            _kind_of(scope["method"], scope["path"]) if limited else (False, False)
        )
        if not is_read and not may_stream:
            await self._app(scope, receive, send)
            return
        try:
            for each in limited:
                each.require_bytes(self._clock())
                if may_stream:
                    each.require_stream()
        except Problem as problem:
            await self._forms.respond(problem, scope["path"])(scope, receive, send)
            return
        call = _Call(limited, self._clock)
        call.counts_body = is_read
        await self._serve(call, scope, receive, send, may_stream=may_stream)

    async def _serve(
        self, call: _Call, scope: Scope, receive: Receive, send: Send, *, may_stream: bool
    ) -> None:
        async def counting_send(message: Message) -> None:
            if call.counts_body and (body := message.get("body")):
                call.add(len(body))
            await send(message)

        set_reader(scope, call)
        call.count(may_stream)
        try:
            await self._app(scope, receive, counting_send)
        finally:
            call.count(-may_stream)

    def _limited(self, caller: Caller) -> list[_Limited]:
        rules = self._rules.of(caller.tenant)
        if not rules.limits_reads:
            return []
        found = [
            _Limited(
                self._account(caller.tenant), "", rules.streams, rules.replayed_bytes_per_minute
            )
        ]
        if caller.user is not None:
            account = self._account(principal_of(caller.tenant, caller.user))
            limits = rules.user_streams, rules.user_replayed_bytes_per_minute
            found.append(_Limited(account, "user_", *limits))
        return found

    def _account(self, name: str) -> _Account:
        account = self._accounts.get(name)
        if account is None:
            if len(self._accounts) >= self._prune_at:
                self._prune()
            account = self._accounts[name] = _Account()
        return account

    def _prune(self) -> None:
        now_s = self._clock()
        kept = {name: each for name, each in self._accounts.items() if not each.is_idle(now_s)}
        self._accounts = kept
        self._prune_at = max(_FEW_ACCOUNTS, 2 * len(kept))


def _kind_of(method: str, path: str) -> tuple[bool, bool]:
    """Whether a call reads what was written before, and whether its answer may be a stream."""
    needed = needed_scope(method, path)
    if method == "POST":
        is_many = path == "/streams"
        return is_many, is_many or (needed == "submit" and path != "/chat")
    return needed in {"read", "list"}, path.endswith(("/stream", "/agui"))


def _reached(name: str, limit: int, reason: str, wait_s: int) -> Problem:
    return Problem(
        429,
        "rate_limit_exceeded",
        f"The limit {name} ({limit}) is reached: {reason}. Try again in {wait_s} s.",
        headers={"Retry-After": str(wait_s)},
    )
