"""Pure: OPENAI_BASE_URL as an address, an account, and secrets to keep out of messages."""

import base64
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.addresses import is_this_machine
from tickertape.runtime.setting_addresses import checked_http_url


@dataclass(frozen=True)
class UpstreamAddress:
    """The URL without its account; None stands for the SDK's default.

    `authorization` is the header made from the account. `passwords` are the parts of the account
    that no message may quote. `is_local`: the upstream is on this machine. A local upstream is
    called without a proxy, as Go programs and browsers do, because a proxy for the internet would
    look for it on the proxy's machine.
    """

    url: str | None
    authorization: str | None = field(default=None, repr=False)
    passwords: tuple[str, ...] = field(default=(), repr=False)
    is_local: bool = False


def parse_address(url: str | None) -> UpstreamAddress:
    """The parts of an address. The settings have already accepted it."""
    if url is None:
        return UpstreamAddress(None)
    parts = urlsplit(url)
    is_local = is_this_machine(parts.hostname or "")
    account, at, server = parts.netloc.rpartition("@")
    if not at:
        return UpstreamAddress(url, is_local=is_local)
    name, _, password = account.partition(":")
    plain = f"{unquote(name)}:{unquote(password)}"
    token = base64.b64encode(plain.encode()).decode()
    # Without a password, the name may be a key.
    secrets = {password, unquote(password), token} if password else {name, unquote(name), token}
    return UpstreamAddress(
        urlunsplit(parts._replace(netloc=server)),
        f"Basic {token}",
        tuple(sorted(secrets)),
        is_local,
    )


def checked_upstream_url(url: str) -> str:
    """An address as the settings accept it; raises SettingsInvalid."""
    try:
        return checked_http_url(url)
    except ValueError as error:
        raise SettingsInvalid(str(error)) from None
