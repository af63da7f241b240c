"""Pure: what OPENAI_BASE_URL says besides where the upstream is."""

import base64
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from tickertape.runtime.addresses import is_this_machine


@dataclass(frozen=True)
class UpstreamAddress:
    """The address without its account; None for the SDK's default.

    `authorization` is the header that the account in it stands for, and `passwords` are what no
    message may quote of it. `is_local`: the upstream is on this machine. A proxy that was set for
    the internet would look for it on its own, so such an upstream is asked directly, as Go programs
    and browsers do.
    """

    url: str | None
    authorization: str | None = field(default=None, repr=False)
    passwords: tuple[str, ...] = field(default=(), repr=False)
    is_local: bool = False


def parse_address(url: str | None) -> UpstreamAddress:
    """The parts of an address that the settings have accepted."""
    if url is None:
        return UpstreamAddress(None)
    parts = urlsplit(url)
    is_local = is_this_machine(parts.hostname or "")
    account, at, place = parts.netloc.rpartition("@")
    if not at:
        return UpstreamAddress(url, is_local=is_local)
    name, _, password = account.partition(":")
    plain = f"{unquote(name)}:{unquote(password)}"
    token = base64.b64encode(plain.encode()).decode()
    # A key may stand in the place of the name.
    secrets = {password, unquote(password), token} if password else {name, unquote(name), token}
    return UpstreamAddress(
        urlunsplit(parts._replace(netloc=place)), f"Basic {token}", tuple(sorted(secrets)), is_local
    )
