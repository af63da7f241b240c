"""Pure: the names under which data is kept: a tenant, or one of its end users."""

import re
from functools import lru_cache
from typing import TypeGuard

from tickertape.broker.keys import digest

_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)

OPEN_TENANT = "public"
"""The only tenant of an API without keys."""


def is_tenant_name(name: object) -> TypeGuard[str]:
    """Whether a tenant may have this name. With a `~`, it would be that of another's user."""
    return isinstance(name, str) and _TENANT.fullmatch(name) is not None


@lru_cache(10_000)
def principal_of(tenant: str, user: str | None) -> str:
    """The name under which the data of a tenant, or of one of its end users, is kept.

    It stands for the tenant in keys and records, so that the data of two users is as separate as
    that of two tenants. No tenant has a `~` in its name.
    """
    return tenant if user is None else f"{tenant}~{digest(tenant, user)[:32]}"


def account_in_turn(owner: str) -> str:
    """What has turns for an owner of requests: the tenant, or `<tenant>~` for all of its users."""
    tenant, tilde, _ = owner.partition("~")
    return tenant + tilde


def tenant_of(principal: str) -> str:
    """The tenant that a principal belongs to."""
    return principal.partition("~")[0]
