"""Pure: keeps one tenant's prompts out of what another tenant learns from the upstream's cache.

An upstream keeps the beginnings of prompts, and counts the tokens that it found kept. A tenant that
sends a guess of another tenant's prompt reads from that count whether the guess is right. Where the
upstream takes a salt, each tenant gets its own cache. Everywhere else the counts are withheld.
"""

import hashlib
from typing import Any

_SALT = "cache_salt"
# https://docs.vllm.ai/en/latest/design/prefix_caching.html: a salt separates the caches.
# https://platform.openai.com/docs/guides/prompt-caching: a key only chooses the machine, so that
# requests of one tenant meet. It does not separate, so that the counts are withheld.
_FIELDS = {"vllm": _SALT, "openai": "prompt_cache_key"}
CACHE_FIELDS = tuple(_FIELDS.values())


def set_cache_field(body: dict[str, Any], profile: str, cache_key: str | None) -> None:
    """Set the field that separates the tenants, if the upstream's family has one.

    The caller's own value of the field is mixed in, so that it separates further and never joins.
    """
    field = _FIELDS.get(profile)
    if field is None or cache_key is None:
        return
    own = body.get(field)
    body[field] = _digest(cache_key, str(own)) if own is not None else cache_key


def is_separate(profile: str) -> bool:
    """Whether the field keeps the caches of tenants apart."""
    return _FIELDS.get(profile) == _SALT


def without_cached_counts(usage: dict[str, Any]) -> dict[str, Any]:
    """The usage without the counts of cached tokens, under every provider's name, at any depth."""
    return {
        name: without_cached_counts(value) if isinstance(value, dict) else value
        for name, value in usage.items()
        if "cache" not in name.lower()
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]
