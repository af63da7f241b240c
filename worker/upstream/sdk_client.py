"""The openai SDK's client: its connection to the upstream, and what it must not log."""

import asyncio
import logging
import os
import ssl
from functools import cache
from typing import Any

import openai
from openai import AsyncOpenAI, AsyncStream

from tickertape.broker.errors import SettingsInvalid
from tickertape.worker.upstream.address import UpstreamAddress
from tickertape.worker.upstream.error_responses import ErrorResponse, refuse
from tickertape.worker.upstream.http_client import HttpClient

CONNECT_S = 10.0
_UNAUTHORIZED = 401


def make_client(address: UpstreamAddress, api_key: str) -> AsyncOpenAI:
    """A client that logs no key; the caller closes it. Raises SettingsInvalid for a wrong proxy."""
    _quieten_libraries()
    return AsyncOpenAI(
        base_url=address.url,
        api_key=api_key,
        default_headers=_headers(address),
        max_retries=0,
        # Only connecting has a limit here. AnswerStream limits all other waits.
        timeout=openai.Timeout(None, connect=CONNECT_S),
        http_client=_http_client(is_local=address.is_local),
    )


async def with_key(client: AsyncOpenAI, api_key: str, limit_s: float) -> AsyncOpenAI:
    """The client with another key, over the same connections.

    Raises SettingsInvalid if the upstream refuses to list its models to this key. Any other failure
    says nothing about the key.
    """
    if not api_key.isascii() or len(api_key.split()) != 1:
        raise SettingsInvalid("a key is one word of ASCII characters")
    changed = client.copy(api_key=api_key)
    try:
        async with asyncio.timeout(limit_s):
            answer = await changed.get(
                "/models", cast_to=object, stream=True, stream_cls=AsyncStream[object]
            )
            await answer.response.aclose()
    except ErrorResponse as error:
        if error.status == _UNAUTHORIZED:
            raise SettingsInvalid("the upstream refuses the key with HTTP 401") from None
    except Exception:  # noqa: BLE001  # the next list of models reports it
        return changed
    return changed


def with_account(client: AsyncOpenAI, address: UpstreamAddress) -> AsyncOpenAI:
    """The client with the account of another address, over the same connections."""
    return client.copy(set_default_headers=_headers(address) or {})


def _headers(address: UpstreamAddress) -> dict[str, str] | None:
    return {"Authorization": address.authorization} if address.authorization else None


def _http_client(*, is_local: bool) -> HttpClient:
    """The SDK's way to the network, with the proxies of the environment unless it is local.

    It follows no redirect, which would carry the prompt to another host, and its answers with a
    status other than 2xx raise ErrorResponse. aiohttp bounds the head of a response to 128 fields
    of 8 KB.
    """
    hooks: dict[str, Any] = {"response": [refuse]}
    if is_local:
        # Certificates still come from the environment.
        places = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        return HttpClient(trust_env=False, verify=_trusted_certificates(*places), event_hooks=hooks)
    try:
        return HttpClient(event_hooks=hooks)
    except ValueError:
        # The message of the ValueError may contain the proxy's password.
        raise SettingsInvalid(
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is not the address of a proxy"
        ) from None


@cache
def _trusted_certificates(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """The certificates in these places, or else those of the system. Loading them takes 30 ms."""
    return ssl.create_default_context()


def _quieten_libraries() -> None:
    """Keep keys and prompts out of the program's log, at every level.

    At DEBUG, which OPENAI_LOG=debug sets too, the SDK logs each request with its messages. At INFO,
    its HTTP layer logs the address, which may contain a password.
    """
    for name, lowest in (("openai", logging.INFO), ("httpx2", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(max(lowest, logger.getEffectiveLevel()))
