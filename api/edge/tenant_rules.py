"""Pure: which models, fields, tools and addresses a tenant may pass on to the upstream.

The rules are applied to every protocol in one place, `Services.submit`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property, partial
from typing import Any

from tickertape.api.asking import Ask
from tickertape.api.edge.image_sources import DEFAULT_SOURCES, refused_server, refused_source
from tickertape.api.edge.prices import Price, Prices
from tickertape.api.edge.problems import Problem
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.kinds import BESIDE_PARAMS
from tickertape.broker.principals import is_tenant_name
from tickertape.runtime.json_types import JsonObject

EVERYONE = "*"
_LENGTH_LIMITS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_new_tokens",
    "n_predict",
)
# The names that every upstream reads, or that the worker puts in place of each other.
_COMMON_LIMITS = frozenset({"max_tokens", "max_completion_tokens"})
_COUNTS_OF_ANSWERS = ("n", "best_of")
# Fields in which gateways take further models, besides those with "fallback" in their names.
_FURTHER_MODELS = frozenset({"models", "preset"})
_OWN_RULES = frozenset({"model", *_LENGTH_LIMITS, *_COUNTS_OF_ANSWERS})
_NUMBERS = (
    "max_tokens",
    "concurrent",
    "user_concurrent",
    "weight",
    "requests_per_minute",
    "tokens_per_minute",
    "tokens_per_day",
    "kept_bytes",
    "user_requests_per_minute",
    "user_tokens_per_minute",
)
_OF_READERS = (
    "streams",
    "user_streams",
    "replayed_bytes_per_minute",
    "user_replayed_bytes_per_minute",
)
_AMOUNTS = ("spend_per_day", "spend_per_month", "user_spend_per_day", "user_spend_per_month")
_MOST_SPENT = 1e9
_ITEM = re.compile(r"\s*[,\n]\s*")
_NAME = "TICKERTAPE_TENANT_RULES"
_MOST_DIGITS = 12
_COUNTED = ", ".join(_NUMBERS + _OF_READERS + _AMOUNTS)
_FORMAT = (
    "use tenant name=value name=value, with commas between tenants and * for all tenants;"
    f" the names are models, fields, images, max_tools, {_COUNTED}"
)


@dataclass(frozen=True)
class TenantRules:
    """What a tenant may pass on. None is no limit.

    `models` and `fields` are patterns, in which `*` stands for any text. `images` are the sources
    of files; see `image_sources`. `max_tokens` also becomes the limit of a request without one.
    `concurrent` is how many requests of the tenant with all its users may wait and run,
    `user_concurrent` how many of one user, and `weight` its share of the workers beside tenants
    with the weight 1. `api/rates.py` explains the rates and what may be spent, and `read_limits.py`
    the limits of readers.
    """

    models: tuple[str, ...] | None = None
    fields: tuple[str, ...] | None = None
    images: frozenset[str] = DEFAULT_SOURCES
    max_tokens: int | None = None
    max_tools: int | None = None
    concurrent: int | None = None
    user_concurrent: int | None = None
    weight: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    kept_bytes: int | None = None
    user_requests_per_minute: int | None = None
    user_tokens_per_minute: int | None = None
    streams: int | None = None
    user_streams: int | None = None
    replayed_bytes_per_minute: int | None = None
    user_replayed_bytes_per_minute: int | None = None
    spend_per_day: float | None = None
    spend_per_month: float | None = None
    user_spend_per_day: float | None = None
    user_spend_per_month: float | None = None

    @cached_property
    def limits_reads(self) -> bool:
        """Whether there is a limit of what a tenant or a user reads."""
        return any(getattr(self, name) is not None for name in _OF_READERS)

    @cached_property
    def limits_money(self) -> bool:
        """Whether there is a limit of what a tenant or a user spends."""
        return any(getattr(self, name) is not None for name in _AMOUNTS)

    def check(self, ask: Ask) -> None:
        """Raise Problem 403 or 400, which names the field, for what the tenant may not pass on."""
        params = {**ask.params, **ask.openai_params}
        for name in params.keys() & {*BESIDE_PARAMS}:
            raise _refused(400, "unsupported_value", name, "this name is reserved; leave it out")
        self._check_model(params.get("model"))
        self._check_fields(params)
        self._check_tools(params.get("tools"))
        for name in _COUNTS_OF_ANSWERS:
            if params.get(name) not in (None, 1):
                raise _refused(400, "unsupported_value", name, "use 1: a request has one answer")
        if reason := refused_source(ask.messages, self.images):
            raise _refused(400, "address_not_allowed", "messages", reason)
        if reason := refused_server(params.get("tools"), self.images):
            raise _refused(400, "address_not_allowed", "tools", reason)

    def allows_model(self, model: str) -> bool:
        """Whether the tenant may name the model."""
        return _matches(model, self.models)

    def limited(self, params: JsonObject) -> JsonObject:
        """The parameters with a limit for the answer's length, if the tenant has one."""
        if self.max_tokens is None:
            return params
        given = {name: params[name] for name in _LENGTH_LIMITS if params.get(name) is not None}
        for name, limit in given.items():
            # Upstreams read "9999" and 9999.0 as numbers.
            # llama.cpp reads -1 as an answer without a limit.
            if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
                raise _refused(400, "invalid_value", name, "use a whole number from 1")
        lowered = {name: min(limit, self.max_tokens) for name, limit in given.items()}
        if not _COMMON_LIMITS & lowered.keys():
            lowered["max_tokens"] = self.max_tokens
        return {**params, **lowered}

    def _check_model(self, model: Any) -> None:
        if model is not None and not self.allows_model(str(model)):
            may = ", ".join(self.models or ())
            raise _refused(403, "model_not_allowed", "model", f"you may use {may}")

    def _check_fields(self, params: JsonObject) -> None:
        for name in params:
            if name not in _OWN_RULES and not _matches(name, self.fields):
                may = ", ".join(self.fields or ()) or "no other field"
                raise _refused(403, "field_not_allowed", name, f"you may set {may}")

    def _check_tools(self, tools: Any) -> None:
        count = len(tools) if isinstance(tools, list) else 0
        if self.max_tools is not None and count > self.max_tools:
            raise _refused(400, "too_many_tools", "tools", f"use at most {self.max_tools}")


class TenantRulebook:
    """The rules of every tenant, and the prices of models; raises SettingsInvalid.

    `text` is TICKERTAPE_TENANT_RULES, and `prices` TICKERTAPE_PRICES.
    """

    def __init__(self, text: str | None, prices: str | None = None) -> None:
        self._prices = Prices(prices)
        given = _parse(text or "")
        self._default = _with(TenantRules(), given.pop(EVERYONE, {}))
        self._own = {tenant: _with(self._default, rules) for tenant, rules in given.items()}

        every = (self._default, *self._own.values())
        if self._prices.is_empty and any(rules.limits_money for rules in every):
            raise SettingsInvalid(f"{_NAME} limits what is spent: set TICKERTAPE_PRICES as well")

    def price(self, rules: TenantRules, model: str | None) -> Price | None:
        """The price of a model, if the rules limit what is spent.

        Raises Problem 403 for a model without a price then.
        """
        if not rules.limits_money:
            return None
        if (price := self._prices.of(model)) is None:
            reason = "this model has no price, and what you spend is limited; name another model"
            raise _refused(403, "model_not_allowed", "model", reason)
        return price

    def of(self, tenant: str) -> TenantRules:
        """The rules of a tenant: its own ones, and those for all tenants where it has none."""
        return self._own.get(tenant, self._default)


def answer_limit(params: JsonObject) -> int | None:
    """The largest limit of the answer's length, by any name, in tokens; None if there is none."""
    given = [params.get(name) for name in _LENGTH_LIMITS]
    return max((limit for limit in given if isinstance(limit, int) and limit > 0), default=None)


def refuse_other_models(ask: Ask) -> None:
    """Raise Problem 403 for a field in which some gateways take further models."""
    for name in (*ask.params, *ask.openai_params):
        if name in _FURTHER_MODELS or "fallback" in name.lower():
            reason = "name one model in `model`; this caller may use listed models only"
            raise _refused(403, "field_not_allowed", name, reason)


def _parse(text: str) -> dict[str, dict[str, str]]:
    rules: dict[str, dict[str, str]] = {}
    for item in filter(None, _ITEM.split(text.strip())):
        tenant, *words = item.split()
        pairs = [word.partition("=") for word in words]
        is_named = tenant == EVERYONE or is_tenant_name(tenant)
        if not is_named or not pairs or not all(equals for _, equals, _ in pairs):
            raise SettingsInvalid(f"{_NAME} is wrong at `{tenant}`: {_FORMAT}")
        own = rules.setdefault(tenant, {})
        own |= {name: value for name, _, value in pairs}
    return rules


def _with(rules: TenantRules, given: dict[str, str]) -> TenantRules:
    read: dict[str, Callable[[str], object]] = {
        "models": _names,
        "fields": _names,
        "images": lambda value: frozenset(_names(value)),
        "max_tools": lambda value: _number("max_tools", value, lowest=0),
        **{name: partial(_number, name, lowest=1) for name in (*_NUMBERS, *_OF_READERS)},
        **{name: partial(_amount, name) for name in _AMOUNTS},
    }
    for name in given:
        if name not in read:
            raise SettingsInvalid(f"{_NAME}: there is no {name}; {_FORMAT}")
    changes: dict[str, Any] = {name: read[name](value) for name, value in given.items()}
    return replace(rules, **changes)


def _names(value: str) -> tuple[str, ...]:
    return tuple(filter(None, value.split("+")))


def _number(name: str, value: str, *, lowest: int) -> int:
    is_number = value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
    if not is_number or int(value) < lowest:
        most = 10**_MOST_DIGITS - 1
        raise SettingsInvalid(f"{_NAME}: {name} is a whole number from {lowest} to {most}")
    return int(value)


def _amount(name: str, value: str) -> float:
    try:
        amount = float(value)
    except ValueError:
        amount = 0
    # At least a millionth, which is the unit in which money is counted.
    if not 1e-6 <= amount <= _MOST_SPENT:
        raise SettingsInvalid(f"{_NAME}: {name} is an amount of money, such as 2.50")
    return amount


def _matches(name: str, patterns: tuple[str, ...] | None) -> bool:
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns)


def _refused(status: int, code: str, param: str, reason: str) -> Problem:
    return Problem(status, code, f"{param}: {reason}.", param=param)
