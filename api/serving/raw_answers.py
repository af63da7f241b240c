"""Pure: an error as the bytes of a whole response, for callers that reach no route."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from tickertape.api.edge.problems import Problem


def raw_answer(problem: Problem, headers: Mapping[str, str]) -> bytes:
    """The response with the body that a route would send, and the end of the connection."""
    body = json.dumps(problem.body(), separators=(",", ":")).encode()
    status = HTTPStatus(problem.status_code)
    fields = {
        **headers,
        "content-type": "application/json",
        "content-length": str(len(body)),
        **(problem.headers or {}),
        "connection": "close",
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
