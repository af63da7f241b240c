"""A receiver of webhooks over real HTTP, which checks signatures by its own reading of the rules.

The check is written from https://github.com/standard-webhooks/standard-webhooks (the specification)
and shares no code with the sender.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
_TOLERANCE_S = 300


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> Any:
    """The event of a webhook; raises ValueError if its sender is not the owner of the secret."""
    key = base64.b64decode(secret.split("_", 1)[1])
    sent_at = int(headers["webhook-timestamp"])
    if abs(time.time() - sent_at) > _TOLERANCE_S:
        raise ValueError("the timestamp is too old or too new")
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = hmac.new(key, content, hashlib.sha256).digest()
    for signature in headers["webhook-signature"].split(" "):
        version, _, encoded = signature.partition(",")
        if version == "v1" and hmac.compare_digest(base64.b64decode(encoded), expected):
            return json.loads(body)
    raise ValueError("no signature fits")


@dataclass
class Receiver:
    """`events` are those that were verified, by id; `calls` counts each of their arrivals.

    `statuses` are answered first, one per call, and then 200. No call is answered until
    `is_answering` is set.
    """

    url: str = ""
    secret: str = SECRET
    events: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    statuses: deque[int] = field(default_factory=deque)
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    heads: list[Mapping[str, str]] = field(default_factory=list)
    is_answering: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        self.heads.append(request.headers)
        event = verify(self.secret, request.headers, body)
        assert event["id"] == request.headers["webhook-id"]
        self.calls.append(event["id"])
        self.arrived.set()
        await self.is_answering.wait()
        status = self.statuses.popleft() if self.statuses else 200
        if 200 <= status < 300:
            self.events[event["id"]] = event
        return web.Response(status=status, headers=self.headers)

    @property
    def types(self) -> dict[str, str]:
        """The type of the event of each request."""
        return {each["data"]["request_id"]: each["type"] for each in self.events.values()}


@contextlib.asynccontextmanager
async def receiving(receiver: Receiver | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver that listens for the length of the block, and is killed at its end."""
    receiver = receiver or Receiver()
    receiver.is_answering.set()
    application = web.Application()
    application.router.add_post("/hook", receiver.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        receiver.is_answering.set()
        await runner.cleanup()


def write_receivers(path: Path, **receivers: str) -> Path:
    """A file with receivers of all events by their names, inside this network; and its path."""
    rows = [
        f'[[receiver]]\nname = "{name}"\nurl = "{url}"\nsecret = "{SECRET}"\nallow_private = true\n'
        for name, url in receivers.items()
    ]
    path.write_text("\n".join(rows))
    return path
