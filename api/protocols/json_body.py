"""Reads a JSON body, within limits that protect the parser and the code behind it.

A body of 20 MB that is mostly one picture is parsed in milliseconds. The same size of empty lists
would block the event loop for seconds and use a gigabyte of memory. Therefore values are counted
before they are made, and all work on a large body is done in a thread.
"""

import functools
import json
import re
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from tickertape.api.edge.error_rules import problem_of_validation
from tickertape.api.edge.problems import Problem
from tickertape.api.heavy_work import HEAVY_BYTES, mark_call
from tickertape.api.services import Services

# A context variable, because FastAPI passes no context to the models of bodies.
MAX_DEPTH: ContextVar[int] = ContextVar("max_json_depth", default=128)
_MANY_VALUES = 10_000
# A string, matched without backtracking, or a character that a value may follow. A string
# without an end matches to the end of the body, or each escaped quote in it would start a new scan.
_STRING_OR_SEPARATOR = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{,]', re.DOTALL)


class JsonRequest(Request):
    """A call with a JSON body, which is validated where it is parsed."""

    body_type: TypeAdapter[Any] | None = None

    async def json(self) -> Any:
        """The validated body; raises Problem, and the errors of `json.loads`.

        FastAPI validates the result again, which is quick, because the result is a model already.
        """
        services: Services = self.app.state.services
        MAX_DEPTH.set(services.settings.max_json_depth)
        body = await self.body()
        read = functools.partial(read_json, body, services.settings.max_json_values, self.body_type)
        mark_call(is_heavy=len(body) >= HEAVY_BYTES)
        return await services.heavy.run_if_heavy(self.state.caller.tenant, read)


class JsonRoute(APIRoute):
    """A route whose body is read within the limits."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        # FastAPI types an annotation as a class or nothing.
        annotation: Any = self.body_field.field_info.annotation if self.body_field else None
        body_type = TypeAdapter(annotation) if annotation else None

        async def read_json(request: Request) -> Response:
            json_request = JsonRequest(request.scope, request.receive)
            json_request.body_type = body_type
            return await handle(json_request)

        return read_json


def read_json(body: bytes, max_values: int, body_type: TypeAdapter[Any] | None) -> Any:
    """The validated value of a body; raises Problem, and the errors of `json.loads`."""
    value = parse_json(body, max_values)
    if body_type is None:
        return value
    try:
        return body_type.validate_python(value)
    except ValidationError as error:
        # An input may be large, and only the first error reaches the caller.
        first = error.errors(include_url=False, include_input=False)[0]
        first["loc"] = ("body", *first["loc"])
        raise problem_of_validation(RequestValidationError([first], body=value)) from None


def parse_json(body: bytes, max_values: int) -> Any:
    """The value of a body; raises Problem for too many values, and the errors of `json.loads`."""
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    separators = text.count(",") + text.count("[") + text.count("{")
    # Many of these characters may be inside strings. Only the slower count can tell.
    if separators >= max_values and _has_too_many(text, max_values):
        raise Problem(400, "too_many_values", f"The body holds more than {max_values} values.")
    return json.loads(text) if separators < _MANY_VALUES else _patient_decoder().decode(text)


def _patient_decoder() -> json.JSONDecoder:
    """Makes the values of `json.loads` in Python code, so that other threads run in between.

    The decoder in C makes 100,000 values in one call, which stops the event loop for 50 ms.
    """
    decoder = json.JSONDecoder()
    decoder.parse_object = json.decoder.JSONObject  # type: ignore[attr-defined]  # of the library
    decoder.parse_array = json.decoder.JSONArray  # type: ignore[attr-defined]  # of the library
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]  # as above
    return decoder


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
