"""Reads a JSON body, within limits that protect the parser and the code behind it.

A body of 20 MB that is mostly one picture is parsed in milliseconds. The same size of empty lists
would block the event loop for seconds and use a gigabyte of memory. Therefore values are counted
before they are made, and large bodies are parsed in a thread.
"""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from tickertape.api.edge.problems import Problem
from tickertape.runtime.settings import Settings

# A context variable, because FastAPI passes no context to the models of bodies.
MAX_DEPTH: ContextVar[int] = ContextVar("max_json_depth", default=128)
_THREADED_CHARS = 256 * 1024
# A string, matched without backtracking, or a character that a value may follow. A string
# without an end matches to the end of the body, or each escaped quote in it would start a new scan.
_STRING_OR_SEPARATOR = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{,]', re.DOTALL)


class JsonRequest(Request):
    """A call with a JSON body."""

    async def json(self) -> Any:
        """The parsed body; raises Problem, and the errors of `json.loads`."""
        settings: Settings = self.app.state.services.settings
        MAX_DEPTH.set(settings.max_json_depth)
        body = await self.body()
        if len(body) < _THREADED_CHARS:
            return parse_json(body, settings.max_json_values)
        return await asyncio.to_thread(parse_json, body, settings.max_json_values)


class JsonRoute(APIRoute):
    """A route whose body is read within the limits."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read_json(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return read_json


def parse_json(body: bytes, max_values: int) -> Any:
    """The value of a body; raises Problem for too many values, and the errors of `json.loads`."""
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    separators = text.count(",") + text.count("[") + text.count("{")
    # Many of these characters may be inside strings. Only the slower count can tell.
    if separators >= max_values and _has_too_many(text, max_values):
        raise Problem(400, "too_many_values", f"The body holds more than {max_values} values.")
    return json.loads(text)


def _has_too_many(text: str, max_values: int) -> bool:
    separators = strings = 0
    for found in _STRING_OR_SEPARATOR.finditer(text):
        if text[found.start()] == '"':
            strings += 1
        else:
            separators += 1
        # Each value but the first follows a separator, and has at most two strings with its key.
        if separators >= max_values or strings > 2 * max_values:
            return True
    return False
