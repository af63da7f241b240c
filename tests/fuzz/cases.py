"""Pure: the raw bytes that the fuzz sends, each determined by its seed and number."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CALLS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/", None),
    ("GET", "/page.js", None),
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
    ("GET", "/metrics", None),
    ("GET", "/status.json", None),
    ("GET", "/openapi.json", None),
    ("GET", "/roles", None),
    ("GET", "/roles/general", None),
    ("GET", "/chat", None),
    ("GET", "/chat?limit=3", None),
    ("GET", "/chat/{mine}", None),
    ("GET", "/chat/{foreign}", None),
    ("GET", "/chat/{foreign}/stream", None),
    ("POST", "/chat/{foreign}/cancel", None),
    ("DELETE", "/chat/{foreign}", None),
    ("GET", "/conversations", None),
    ("GET", "/conversations?q=secret", None),
    ("GET", "/conversations/theirs", None),
    ("PATCH", "/conversations/theirs", {"title": "mine now"}),
    ("DELETE", "/conversations/theirs", None),
    ("GET", "/conversations/theirs/stream", None),
    ("POST", "/streams", {"conversations": [{"conversation_id": "theirs"}]}),
    ("POST", "/chat", {"message": "hi", "role": "general", "params": {"temperature": 0.5}}),
    ("POST", "/chat", {"messages": [{"role": "user", "content": "hi"}], "conversation_id": "c"}),
    ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "n": 2}),
    ("POST", "/v1/responses", {"input": "hi", "background": True}),
    ("GET", "/v1/responses/{foreign}", None),
    ("GET", "/v1/models", None),
    ("POST", "/api/chat", {"id": "x", "messages": [{"role": "user", "parts": []}]}),
    ("POST", "/api/chat/theirs/stop", None),
    ("POST", "/api/gpt/get", {"message": 5}),
    ("OPTIONS", "/chat", None),
)
HEADERS = (
    "Authorization",
    "Content-Length",
    "Transfer-Encoding",
    "Content-Type",
    "Host",
    "Connection",
    "Expect",
    "Upgrade",
    "Range",
    "Accept",
    "Accept-Encoding",
    "If-None-Match",
    "Last-Event-ID",
    "Idempotency-Key",
    "X-Cancel-On-Disconnect",
    "X-Forwarded-For",
    "Forwarded",
    "Origin",
    "Sec-Fetch-Site",
    "Cookie",
    "Trailer",
    "HTTP2-Settings",
)
ODD: tuple[bytes, ...] = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"-1",
    b"0x10",
    b"+5",
    b"5, 5",
    b"99999999999999999999",
    b"chunked, chunked",
    b"identity",
    b"close, keep-alive",
    b"websocket",
    b"100-continue",
    b"Bearer",
    b"Bearer \xc3\x28",
    b"Basic Og==",
    b"application/json; charset=utf-16",
    b'for="[::1"',
    b"\x0b\x0c",
    b"a" * 3000,
    "ünïcödé".encode(),
    b"0-0",
    b"1-1, 2-2",
    b"text/event-stream",
)
ODD_PATHS: tuple[str, ...] = (
    "/%00",
    "/..%2f..%2fetc/passwd",
    "//roles",
    "/roles/%E0%80",
    "/chat/%F0%9F%98%80/stream",
    "*",
    "http://other.example/roles",
    "/chat/" + "a" * 2000,
    "/roles;x=1",
    "/ROLES",
    "/chat/x/stream?after=1-1&after=2-2&format=text",
    "/chat/x/stream?snapshot=maybe&format=%00",
    "/conversations?limit=99999999999999999999&after=%ff",
    "/chat?limit=-1",
    "/files/../page.js",
    "/client/v1/..%5c..%5c",
)
ODD_TEXT: tuple[str, ...] = ("", "\x00", "\ud800", "a" * 5000, "\u202e", "${OS}", "' OR 1=1", "]}")


@dataclass(frozen=True)
class Case:
    """What is sent on one connection."""

    number: int
    kind: str
    sent: bytes
    # Whether the end of a call may be missing, so that the server waits for it.
    is_open: bool = False


@dataclass(frozen=True)
class Setting:
    """What calls refer to: the caller's key, and ids of the caller and of another tenant."""

    key: str
    mine: str
    foreign: str


@dataclass
class Call:
    """A call before it becomes bytes."""

    method: str
    path: str
    headers: list[tuple[str, bytes]]
    body: bytes


def case(seed: int, number: int, setting: Setting) -> Case:
    """The case of this number; equal arguments give equal bytes."""
    chance = random.Random(f"{seed}:{number}")
    kind = chance.choice(tuple(KINDS))
    return Case(number, kind, KINDS[kind](chance, setting), kind in OPEN_KINDS)


def _call(chance: random.Random, setting: Setting, *, needs_body: bool = False) -> Call:
    known = [each for each in CALLS if each[2] is not None] if needs_body else CALLS
    method, path, body = chance.choice(known)
    path = path.replace("{mine}", setting.mine).replace("{foreign}", setting.foreign)
    headers = [("Host", b"localhost"), ("Authorization", f"Bearer {setting.key}".encode())]
    if chance.random() < 0.2:
        headers.pop()
    data = b"" if body is None else json.dumps(body).encode()
    if data:
        headers.append(("Content-Type", b"application/json"))
    return Call(method, path, headers, data)


def _head(call: Call, *more: tuple[str, bytes]) -> bytes:
    lines = [f"{call.method} {call.path} HTTP/1.1".encode("utf-8", "surrogatepass")]
    lines += [name.encode() + b": " + value for name, value in (*call.headers, *more)]
    return b"\r\n".join([*lines, b"", b""])


def _bytes(call: Call, *more: tuple[str, bytes]) -> bytes:
    length = [("Content-Length", b"%d" % len(call.body))] if call.body else []
    return _head(call, *length, *more) + call.body


def valid(chance: random.Random, setting: Setting) -> bytes:
    """A call as a client would send it."""
    return _bytes(_call(chance, setting))


def flipped(chance: random.Random, setting: Setting) -> bytes:
    """Bytes of a call changed, removed, repeated."""
    sent = bytearray(_bytes(_call(chance, setting)))
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(sent))
        match chance.randrange(3):
            case 0:
                sent[at] = chance.randrange(256)
            case 1:
                del sent[at : at + chance.randint(1, 4)]
            case _:
                sent[at:at] = chance.randbytes(chance.randint(1, 6))
        if not sent:
            return b"\n"
    return bytes(sent)


def many_headers(chance: random.Random, setting: Setting) -> bytes:
    """Many or long headers."""
    count, size = chance.choice([(400, 10), (90, 10), (3, 20_000), (1, 60_000), (99, 400)])
    return _bytes(_call(chance, setting), *[(f"X-{n}", b"y" * size) for n in range(count)])


def odd_headers(chance: random.Random, setting: Setting) -> bytes:
    """Headers that servers act upon, with values that they do not expect, also twice."""
    call = _call(chance, setting)
    more = [(chance.choice(HEADERS), chance.choice(ODD)) for _ in range(chance.randint(1, 4))]
    return _bytes(call, *more)


def odd_paths(chance: random.Random, setting: Setting) -> bytes:
    """Paths and queries that no client builds."""
    call = _call(chance, setting)
    call.path = chance.choice(ODD_PATHS)
    if chance.random() < 0.2:
        call.path += "?" + "&".join(f"{n}={chance.choice(ODD_TEXT)!r}" for n in range(20))
    call.path = call.path.replace(" ", "%20")
    return _bytes(call)


def chunks(chance: random.Random, setting: Setting) -> bytes:
    """A body in chunks with odd sizes, extensions, ends and trailers."""
    call = _call(chance, setting, needs_body=True)
    sent = [_head(call, ("Transfer-Encoding", b"chunked"))]
    rest = call.body
    while rest:
        size = chance.randint(1, len(rest))
        written = chance.choice([b"%x", b"%X", b"00%x", b"%x;ext=1", b"%x ", b"-%x", b"%xg"])
        if chance.random() < 0.7:
            written = b"%x"
        if chance.random() < 0.03:
            written = b"FFFFFFFFFFFFFFFFF%x"
        end = b"\r\n" if chance.random() < 0.95 else chance.choice([b"\n", b"", b"\r"])
        sent += [written % size, b"\r\n", rest[:size], end]
        rest = rest[size:]
    sent.append(b"0\r\n")
    trailers = chance.choice([0, 0, 0, 1, 5, 300])
    sent += [b"%b: %b\r\n" % (chance.choice(HEADERS).encode(), b"z" * 9) for _ in range(trailers)]
    sent.append(b"\r\n")
    return b"".join(sent)


def bodies(chance: random.Random, setting: Setting) -> bytes:
    """JSON that no client builds, and bytes that are almost JSON."""
    call = _call(chance, setting, needs_body=True)
    value = json.loads(call.body)
    for _ in range(chance.randint(1, 3)):
        value = _changed(chance, value)
    call.body = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    )
    match chance.randrange(12):
        case 0:
            call.body = call.body[: chance.randint(1, len(call.body))]
        case 1:
            call.body = call.body.decode("utf-8", "replace").encode("utf-16")
        case 2:
            call.body = b"[" * chance.choice([50, 200, 5000]) + call.body
        case 3:
            call.body = b"[" + b"0," * chance.choice([100, 120_000]) + b"0]"
    return _bytes(call)


def _changed(chance: random.Random, value: Any) -> Any:
    odd: Any = chance.choice(
        [None, True, -1, 10**400, 1e308, float("nan"), [], {}, [[]], {"": {}}, *ODD_TEXT]
    )
    if isinstance(value, dict) and value:
        name = chance.choice([*value, "unknown", "model", "stream", "tools", "parts"])
        return {**value, name: _changed(chance, value[name]) if name in value else odd}
    if isinstance(value, list) and value:
        at = chance.randrange(len(value))
        return [*value[:at], _changed(chance, value[at]), *value[at + 1 :]]
    return odd


def pipelined(chance: random.Random, setting: Setting) -> bytes:
    """Several cases at once."""
    kinds = [valid, flipped, odd_headers, chunks, bodies, valid]
    count = chance.choice([2, 3, 5, 40])
    return b"".join(chance.choice(kinds)(chance, setting) for _ in range(count))


def truncated(chance: random.Random, setting: Setting) -> bytes:
    """A call that does not end."""
    sent = chance.choice([valid, chunks, bodies])(chance, setting)
    return sent[: chance.randint(1, len(sent))]


def garbage(chance: random.Random, setting: Setting) -> bytes:
    """Bytes that are no call."""
    return chance.randbytes(chance.choice([1, 20, 500, 40_000])) + b"\r\n\r\n"


KINDS: dict[str, Callable[[random.Random, Setting], bytes]] = {
    "valid": valid,
    "flipped": flipped,
    "many headers": many_headers,
    "odd headers": odd_headers,
    "odd paths": odd_paths,
    "chunks": chunks,
    "bodies": bodies,
    "pipelined": pipelined,
    "truncated": truncated,
    "garbage": garbage,
}
OPEN_KINDS = frozenset({"flipped", "odd headers", "chunks", "pipelined", "truncated", "garbage"})
