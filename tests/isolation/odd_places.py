"""Pure: calls that have a key, a ticket or a prompt where none belongs."""

import base64
import json
from collections.abc import Iterator, Mapping

from tests.support.raw import call

_METHODS = ("GET", "POST", "DELETE", "PUT", "BREW")


# Whoever has a key gives names to users and conversations, and the audit log shows names.
_NAMES = (b"conversation", b"X-Tickertape-User", b"/api/chat", b"parent_id")


def odd_calls(words: Mapping[str, str], request_id: str) -> Iterator[bytes]:
    """For each word: in the path, the query, each header, the body, and garbage.

    A caller with a key names nothing by a word that the server cannot know for a secret.
    """
    key = f"Authorization: Bearer {words['listed key']}"
    for kind, word in words.items():
        is_known = any(each in kind for each in ("listed key", "stored key", "token", "ticket"))
        for head in ([], [key], [f"Authorization: Bearer {word}"]):
            for sent in _calls(word, request_id, head):
                if head != [key] or is_known or not any(name in sent for name in _NAMES):
                    yield sent
        yield from _in_garbage(word)


def _calls(word: str, request_id: str, head: list[str]) -> Iterator[bytes]:
    yield from _in_addresses(word, request_id, head)
    yield from _in_headers(word, request_id, head)
    yield from _in_bodies(word, request_id, head)


def _in_addresses(word: str, request_id: str, head: list[str]) -> Iterator[bytes]:
    for path in (
        f"/chat/{word}", f"/chat/{word}/stream", f"/conversations/{word}", f"/{word}",
        f"/v1/responses/{word}", f"/v1/models/{word}", f"/api/chat/{word}/stream",
        f"/chat/{request_id}?key={word}", f"/chat/{request_id}/stream?ticket={word}",
        f"/chat/{request_id}?ticket={word}", f"/chat?api_key={word}", f"/metrics?{word}",
        f"/chat/{request_id}/stream?after={word}", f"/conversations/{word}/turns/{word}",
        f"/roles/{word}", f"/page/{word}", f"/chat/{request_id}#{word}",
        f"http://user:{word}@localhost/chat",
    ):  # fmt: skip
        for method in _METHODS:
            yield call(method, path, *head, "Connection: close")


def _in_headers(word: str, request_id: str, head: list[str]) -> Iterator[bytes]:
    basic = base64.b64encode(f"user:{word}".encode()).decode()
    for line in (
        f"Authorization: {word}", f"Authorization: Basic {basic}", f"Authorization: Ticket {word}",
        f"Authorization: bearer  {word} ", f"X-Api-Key: {word}", f"Cookie: key={word}",
        f"Referer: http://localhost/?ticket={word}", f"User-Agent: {word}", f"{word}: 1",
        f"X-Tickertape-User: {word}", f"Idempotency-Key: {word}", f"Last-Event-ID: {word}",
        f"Host: {word}", f"X-Forwarded-For: {word}", f"Origin: http://{word}", f"Range: {word}",
        f"Content-Type: {word}", f"Content-Length: {word}", f"Transfer-Encoding: {word}",
        f"Upgrade: {word}", f"Expect: {word}", f"X-Request-Id: {word}",
    ):  # fmt: skip
        for path in ("/chat", f"/chat/{request_id}", "/metrics"):
            yield call("GET", path, *head, line, "Connection: close")
        yield call("POST", "/chat", *head, line, "Connection: close", body=b'{"message": 1}')


def _in_bodies(word: str, request_id: str, head: list[str]) -> Iterator[bytes]:
    for path, body in (
        ("/chat", {"message": word, word: word}), ("/chat", {"message": {"x": word}}),
        ("/chat", {"message": "x", "conversation_id": word, "api_key": word}),
        ("/chat", {"message": "x", "role": word}), ("/chat", {"message": "x", "model": word}),
        ("/chat", {"message": "x", "parent_id": word, "conversation_id": word}),
        ("/chat", {"message": "x", "metadata": {word: word}}), ("/chat", {"message": "x" + word}),
        ("/v1/chat/completions", {"model": word, "messages": word}),
        ("/v1/responses", {"model": "m", "input": "x", "previous_response_id": word}),
        ("/api/chat", {"id": word, "messages": [word]}), ("/api/gpt/get", {"message": [word]}),
        ("/tickets/revoke", {"ticket": word}), ("/streams", {"conversations": [{word: word}]}),
        (f"/chat/{request_id}/ticket", {"rights": word}), (f"/conversations/{word}/ticket", {}),
    ):  # fmt: skip
        yield call("POST", path, *head, "Connection: close", body=json.dumps(body).encode())
    broken = f'{{"message": "{word}'.encode()
    yield call("POST", "/chat", *head, "Connection: close", body=broken)


def _in_garbage(word: str) -> Iterator[bytes]:
    data = word.encode()
    yield data + b"\r\n\r\n"
    yield b"GET /" + data + b" HTTP/9.9\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: x\r\n" + data + b"\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: x\r\nX-\x00: " + data + b"\r\n\r\n"
    yield b"POST /chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + data + b"\r\n"
    yield b"POST /chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + data
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + data
