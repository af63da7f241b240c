"""Pure: which upstream the settings name, so that data of one upstream never reaches another.

The identity is the address and the name of the account in it. A key or a password is not part of
it, because people replace keys and go on with their conversations.
"""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tickertape.cli.up.environment import needs_model
from tickertape.runtime.addresses import hide_secrets
from tickertape.runtime.settings import Settings

DEFAULT_URL = "https://api.openai.com/v1"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNSAFE = re.compile(r"[^a-z0-9.-]+")
_MOST_HOST_CHARACTERS = 60
_DIGEST_CHARACTERS = 10


@dataclass(frozen=True)
class UpstreamIdentity:
    """`name` is a valid file name and contains no secret. `label` is for people."""

    name: str
    label: str


# Whatever its weights are: prompts for a local model stay on this machine.
LOCAL = UpstreamIdentity("local-model", "the local model")


def upstream_identity(settings: Settings) -> UpstreamIdentity:
    """The upstream that `up` uses with these settings."""
    if needs_model(settings):
        return LOCAL
    if settings.upstreams is not None:
        # The rows may change, as the models of one upstream may.
        path = str(settings.upstreams.resolve())
        return UpstreamIdentity(f"table-{_digest(path)}", f"the upstreams of {path}")
    url = settings.openai_base_url or DEFAULT_URL
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    identity = f"{parts.scheme}://{parts.username or ''}@{host}:{port}{parts.path.rstrip('/')}"
    readable = _UNSAFE.sub("-", host)[:_MOST_HOST_CHARACTERS]
    return UpstreamIdentity(f"{readable}-{_digest(identity)}", hide_secrets(url))


def _digest(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST_CHARACTERS]
