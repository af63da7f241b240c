"""Pure: what is wrong with the bytes that the server sent for one case."""

import json
from dataclasses import dataclass

from tests.fuzz.cases import Case

# Every status that the documents name. 500 is a defect, whatever was sent.
STATUSES = frozenset(
    {100, 200, 202, 204, 304, 400, 401, 403, 404, 405, 408, 409, 413, 414, 415, 429, 431, 503}
)
_TEXT_PREFIX = b"/api/"


@dataclass(frozen=True)
class Answer:
    """One response; `body` is None while it is not complete."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes | None


def answers_in(received: bytes) -> tuple[list[Answer], bytes]:
    """The responses, and the bytes that are no response."""
    found: list[Answer] = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        if not end:
            return found, received
        first, *lines = head.split(b"\r\n")
        if not first.startswith(b"HTTP/1.1 ") or not first[9:12].isdigit():
            return found, received
        pairs = (line.partition(b":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body, received = _body(headers, rest)
        found.append(Answer(int(first[9:12]), headers, body))
        if body is None:
            return found, b""
    return found, b""


def _body(headers: dict[bytes, bytes], rest: bytes) -> tuple[bytes | None, bytes]:
    if headers.get(b"transfer-encoding") == b"chunked":
        body = b""
        while True:
            size, end, rest = rest.partition(b"\r\n")
            length = int(size, 16) if end else 0
            if not end or len(rest) < length + 2:
                return None, b""
            body, rest = body + rest[:length], rest[length + 2 :]
            if not length:
                return body, rest
    length = int(headers.get(b"content-length", b"0"))
    if len(rest) < length:
        return None, b""
    return rest[:length], rest[length:]


def faults_of(case: Case, received: bytes, foreign: bytes) -> list[str]:
    """What is wrong; empty if the answers are as documented."""
    faults = []
    if foreign in received:
        faults.append("another tenant's data")
    answers, left = answers_in(received)
    if left and not case.is_open:
        faults.append(f"bytes that are no response: {left[:80]!r}")
    for answer in answers:
        if answer.status not in STATUSES:
            faults.append(f"status {answer.status}")
        elif answer.status >= 400 and answer.body:
            faults += _faults_of_error(case, answer)
    return faults


def _faults_of_error(case: Case, answer: Answer) -> list[str]:
    media_type = answer.headers.get(b"content-type", b"").partition(b";")[0]
    if media_type == b"text/plain" and _TEXT_PREFIX in case.sent:
        return []
    try:
        error = json.loads(answer.body or b"")["error"]
    except (ValueError, KeyError, TypeError):
        return [f"an error of {answer.status} that is not JSON: {(answer.body or b'')[:80]!r}"]
    if set(error) != {"message", "type", "param", "code"} or not error["message"]:
        return [f"an error without its fields: {error}"]
    return []
