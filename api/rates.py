"""Pure: the limits that a request uses up, and how an answer shows what is left of them."""

from collections.abc import Sequence
from contextvars import ContextVar
from functools import lru_cache

from tickertape.api.edge.caller import Caller
from tickertape.api.edge.prices import Price
from tickertape.api.edge.tenant_rules import TenantRules, answer_limit
from tickertape.broker import keys
from tickertape.broker.rates import MILLIONTHS, RateLimit, RateRest
from tickertape.runtime.json_types import JsonObject

RESTS: ContextVar[tuple[RateRest, ...]] = ContextVar("rate_rests", default=())
"""What is left of the limits after the submit of this call, for the head of its answer."""

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_MONTH_MS = 30 * _DAY_MS
_BYTES_PER_TOKEN = 4
# A request that does not limit its answer reserves this many tokens for the answer.
_ANSWER_TOKENS = 512
# OpenAI's words for a kind of limit, by the end of a rule's name. It has none for money.
_SHOWN_AS = {
    "requests_per_minute": b"requests",
    "tokens_per_minute": b"tokens",
    "tokens_per_day": b"tokens-day",
}


def input_tokens(payload: bytes) -> int:
    """An estimate of the tokens of a prompt."""
    return len(payload) // _BYTES_PER_TOKEN


def limits_of(
    rules: TenantRules,
    caller: Caller,
    params: JsonObject,
    prompt_tokens: int,
    price: Price | None = None,
) -> tuple[RateLimit, ...]:
    """The limits that a request uses up. Tokens are those of the prompt and of the answer.

    Money is counted in millionths, with the `price` of the model.
    """
    answer_tokens = answer_limit(params) or _ANSWER_TOKENS
    tokens = prompt_tokens + answer_tokens
    user = caller.user and _user_key(caller.tenant, caller.user)
    found = [
        *_spending("", caller.tenant, rules, price, prompt_tokens, answer_tokens),
        _requests("requests_per_minute", caller.tenant, rules.requests_per_minute),
        _tokens("tokens_per_minute", caller.tenant, rules.tokens_per_minute, _MINUTE_MS, tokens),
        _tokens("tokens_per_day", caller.tenant, rules.tokens_per_day, _DAY_MS, tokens),
        _requests("user_requests_per_minute", user, rules.user_requests_per_minute),
        _tokens("user_tokens_per_minute", user, rules.user_tokens_per_minute, _MINUTE_MS, tokens),
        *_spending("user_", user, rules, price, prompt_tokens, answer_tokens),
    ]
    return tuple(limit for limit in found if limit is not None)


@lru_cache(10_000)
def _user_key(tenant: str, user: str) -> str:
    return f"u:{keys.digest(tenant, user)}"


def _requests(name: str, key: str | None, limit: int | None) -> RateLimit | None:
    if key is None or limit is None:
        return None
    return RateLimit(name, key, limit, _MINUTE_MS, cost=1)


def _tokens(
    name: str, key: str | None, limit: int | None, window_ms: int, tokens: int
) -> RateLimit | None:
    if key is None or limit is None:
        return None
    return RateLimit(name, key, limit, window_ms, min(tokens, limit), 1, 1)


def _spending(
    prefix: str,
    key: str | None,
    rules: TenantRules,
    price: Price | None,
    *tokens: int,
) -> list[RateLimit]:
    if key is None or price is None:
        return []
    cost = sum(count * each for count, each in zip(tokens, price, strict=True))
    found = []
    for name, window_ms in (("spend_per_day", _DAY_MS), ("spend_per_month", _MONTH_MS)):
        amount: float | None = getattr(rules, prefix + name)
        if amount is not None:
            limit = round(amount * MILLIONTHS)
            found.append(RateLimit(prefix + name, key, limit, window_ms, min(cost, limit), *price))
    return found


def rate_headers(rests: Sequence[RateRest]) -> list[tuple[bytes, bytes]]:
    """The headers in OpenAI's form. Of two limits of one kind, the nearer one is shown."""
    nearest: dict[bytes, RateRest] = {}
    for rest in rests:
        shown = _SHOWN_AS.get(rest.limit.name.removeprefix("user_"))
        if shown is None:
            continue
        known = nearest.get(shown)
        if known is None or rest.remaining < known.remaining:
            nearest[shown] = rest
    headers: list[tuple[bytes, bytes]] = []
    for shown, (limit, remaining, reset_ms) in nearest.items():
        headers += (
            (b"x-ratelimit-limit-" + shown, b"%d" % limit.limit),
            (b"x-ratelimit-remaining-" + shown, b"%d" % remaining),
            (b"x-ratelimit-reset-" + shown, duration(reset_ms).encode()),
        )
    return headers


def duration(ms: int) -> str:
    """A time as OpenAI writes it: `120ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    if ms < 1000:
        return f"{ms}ms"
    minutes, seconds = divmod(ms / 1000, 60)
    if not minutes:
        return f"{seconds:g}s"
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}h{minutes}m{seconds:.0f}s" if hours else f"{minutes}m{seconds:.0f}s"
