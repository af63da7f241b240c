"""The SDK's way to the network: its HTTP client over aiohttp, with bodies that are handed over.

The SDK brings a client over aiohttp, too. This one differs in the body of its responses
(`pushed_body`), and keeps the proxies of the environment, which httpx2 reads, and its errors.
"""

import ssl
from typing import Any

import aiohttp
import httpx2

from tickertape.worker.upstream.error_responses import refuse
from tickertape.worker.upstream.pushed_body import PushedBody
from tickertape.worker.upstream.small_request import SmallRequest

PUSHED_BODY = "tickertape.pushed_body"
"""The extension of a response whose body can be handed over: one that is not compressed."""
SAME_CALL = "tickertape.same_call"
"""The extension of a response by which its call can be made again; see SameCall."""
# Headers of one call alone: aiohttp counts the bytes, and keeps the cookies.
_OF_ONE_CALL = frozenset({"content-length", "cookie"})


_LIMITS = httpx2.Limits(max_connections=1000, keepalive_expiry=5.0)


class HttpClient(httpx2.AsyncClient):
    """A client without redirects. Raises ValueError if the environment names a wrong proxy.

    httpx2 asks these two methods for its transports, and the SDK's client over aiohttp answers in
    the same way.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(limits=_LIMITS, timeout=None, follow_redirects=False, **options)

    def _init_transport(self, *args: Any, **options: Any) -> httpx2.AsyncBaseTransport:
        del args
        return _Transport(**options)

    def _init_proxy_transport(
        self, proxy: httpx2.Proxy, *args: Any, **options: Any
    ) -> httpx2.AsyncBaseTransport:
        del args
        return _Transport(**options, proxy=proxy)


class _Transport(httpx2.AsyncBaseTransport):
    """Sends requests through aiohttp's pool of connections, with the proxy if there is one."""

    def __init__(
        self,
        *,
        verify: ssl.SSLContext | str | bool,
        trust_env: bool,
        limits: httpx2.Limits,
        proxy: httpx2.Proxy | None = None,
        **_: Any,
    ) -> None:
        self._tls = httpx2.create_ssl_context(verify=verify, trust_env=trust_env)
        self._limits = limits
        self._proxy = _proxy_options(proxy)
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The head of the response. Raises httpx2.ConnectError, or ClientError if it is no HTTP."""
        call = SameCall(self, request)
        response = await self.open(
            request.method,
            str(request.url),
            headers=request.headers,
            data=await request.aread() or None,
            timeout=call.timeout,
        )
        return _as_response(response, {SAME_CALL: call}, request)

    async def open(self, method: str, url: str, **options: Any) -> aiohttp.ClientResponse:
        """A response whose body is not read. Raises as `handle_async_request`."""
        try:
            return await self._opened().request(
                method,
                url,
                allow_redirects=False,
                auto_decompress=False,
                **options,
                **self._proxy,
            )
        except (
            aiohttp.ClientConnectionError,
            aiohttp.ClientHttpProxyError,
            aiohttp.InvalidURL,
        ) as error:
            raise httpx2.ConnectError(type(error).__name__) from error

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:  # made in the loop that uses it
            connector = aiohttp.TCPConnector(
                ssl=self._tls,
                limit=self._limits.max_connections or 0,
                keepalive_timeout=self._limits.keepalive_expiry,
            )
            # The SDK's client keeps the cookies of hosts without a name, too.
            cookies = aiohttp.CookieJar(unsafe=True)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=cookies, request_class=SmallRequest
            )
        return self._session


class SameCall:
    """A call that the SDK has made once, and that can be made again with another body.

    The SDK chooses the address, the headers and the limits of all calls in the same way, which
    costs more than the rest of a call. Here they are those of the first call.
    """

    def __init__(self, transport: _Transport, request: httpx2.Request) -> None:
        self._transport = transport
        self._url = str(request.url)
        self._headers = {
            name: value for name, value in request.headers.items() if name not in _OF_ONE_CALL
        }
        self.timeout = _timeout(request)

    async def post(self, body: bytes) -> httpx2.Response | PushedBody:
        """The answer to another body, as the SDK's call would have it.

        Raises httpx2.ConnectError, ClientError, and what `refuse` raises.
        """
        answer = await self._transport.open(
            "POST", self._url, headers=self._headers, data=body, timeout=self.timeout
        )
        if 200 <= answer.status < 300 and "Content-Encoding" not in answer.headers:
            return PushedBody(answer)
        response = _as_response(answer, {})
        try:
            await refuse(response)
        except BaseException:
            await response.aclose()
            raise
        return response


def _as_response(
    answer: aiohttp.ClientResponse,
    extensions: dict[str, Any],
    request: httpx2.Request | None = None,
) -> httpx2.Response:
    body = PushedBody(answer)
    if "Content-Encoding" not in answer.headers:
        extensions[PUSHED_BODY] = body
    return httpx2.Response(
        answer.status,
        headers=answer.raw_headers,
        stream=body,
        request=request,
        extensions=extensions,
    )


def _proxy_options(proxy: httpx2.Proxy | None) -> dict[str, Any]:
    if proxy is None:
        return {}
    account = None if proxy.auth is None else aiohttp.BasicAuth(*proxy.auth)
    return {"proxy": str(proxy.url), "proxy_auth": account, "proxy_headers": proxy.headers}


def _timeout(request: httpx2.Request) -> aiohttp.ClientTimeout:
    limits = request.extensions.get("timeout", {})
    return aiohttp.ClientTimeout(
        sock_connect=limits.get("connect"),
        sock_read=limits.get("read"),
        connect=limits.get("pool"),
    )
