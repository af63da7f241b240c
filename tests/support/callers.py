"""A client of the HTTP API, for tests that check what one call answers.

`tests/chaos/client.py` is the other client: it repeats a call until some API process answers, and
it records unexpected answers instead of failing.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Self

import httpx2

# There is no TLS, except behind a proxy. Loading the system's certificate authorities would take
# longer than a call.
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Caller:
    """Calls one API process; with a `key`, as its tenant. An async context manager."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext = _NO_AUTHORITIES,
    ) -> None:
        self.url = url
        self.headers = {**(headers or {})}
        if key is not None:
            self.headers["Authorization"] = f"Bearer {key}"
        self.client = httpx2.AsyncClient(base_url=url, headers=self.headers, timeout=20, verify=tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.client.aclose()

    async def submit(
        self, message: str = "hi", *, idempotency_key: str | None = None, **fields: Any
    ) -> str:
        """Submit a message and return the request's id; a repeated key finds its request."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        answer = await self.client.post(
            "/chat", json={"message": message, **fields}, headers=headers
        )
        accepted = {202} if idempotency_key is None else {200, 202}
        assert answer.status_code in accepted, answer.text
        return str(answer.json()["request_id"])

    async def read(self, request_id: str) -> dict[str, Any]:
        """The request as `GET /chat/{id}` shows it now."""
        answer = await self.client.get(f"/chat/{request_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def cancel(self, request_id: str) -> str:
        """Cancel the request; returns its status."""
        answer = await self.client.post(f"/chat/{request_id}/cancel")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["status"])

    async def is_ready(self) -> bool:
        """Whether the API process answers its readiness probe with 200."""
        return (await self.client.get("/readyz")).status_code == 200

    def stream_url(self, request_id: str) -> str:
        """The URL of the request's events."""
        return f"{self.url}/chat/{request_id}/stream"
