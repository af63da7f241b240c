"""The client of the openai SDK: its way to the upstream, and its silence about what it sends."""

import logging
import ssl

import openai
from openai import AsyncOpenAI, DefaultAioHttpClient

from tickertape.broker.errors import SettingsInvalid
from tickertape.worker.upstream.address import UpstreamAddress

CONNECT_S = 10.0


def make_client(address: UpstreamAddress, api_key: str) -> AsyncOpenAI:
    """A client that logs no key; close it at the end. Raises SettingsInvalid for a wrong proxy."""
    _quieten_libraries()
    account = address.authorization
    return AsyncOpenAI(
        base_url=address.url,
        api_key=api_key,
        default_headers={"Authorization": account} if account else None,
        max_retries=0,
        # Only connecting is timed here: AnswerStream knows what else is being waited for.
        timeout=openai.Timeout(None, connect=CONNECT_S),
        http_client=_http_client(is_local=address.is_local),
    )


def _http_client(*, is_local: bool) -> DefaultAioHttpClient:
    """The SDK's client over aiohttp, through the proxies of the environment unless it is local."""
    if is_local:
        # Certificates are still those that the environment names.
        return DefaultAioHttpClient(trust_env=False, verify=ssl.create_default_context())
    try:
        return DefaultAioHttpClient()
    except ValueError:
        # Its message may hold the proxy's password.
        raise SettingsInvalid(
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is not the address of a proxy"
        ) from None


def _quieten_libraries() -> None:
    """Keep keys and prompts out of the log, whatever level it has.

    At DEBUG, which OPENAI_LOG=debug sets too, the SDK logs each request with its messages, and at
    INFO its HTTP layer logs the address, which may hold a password.
    """
    for name, least in (("openai", logging.INFO), ("httpx2", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(max(least, logger.getEffectiveLevel()))
