"""The forms in which clients read errors, and which form the clients of a path read."""

from collections.abc import Callable, Mapping
from enum import Enum

from starlette.responses import JSONResponse, PlainTextResponse, Response

from tickertape.api.edge.problems import Problem


class ErrorForm(Enum):
    """How an error is written."""

    JSON = "json"
    OPENAI = "openai"
    """As JSON, with 400 in place of 409, because OpenAI's SDK retries a call after a 409."""
    TEXT = "text"
    """The bare message, for clients that show the body of an error to a person."""


class ErrorForms:
    """The error form of each path: that of the longest prefix of the path, JSON without one."""

    def __init__(self, by_prefix: Mapping[str, ErrorForm]) -> None:
        self.on_refused: Callable[[str], None] = _ignore
        self._by_prefix = sorted(by_prefix.items(), key=lambda item: -len(item[0]))

    def of(self, path: str) -> ErrorForm:
        """The form that clients of this path read."""
        return next(
            (form for prefix, form in self._by_prefix if path.startswith(prefix)), ErrorForm.JSON
        )

    def respond(self, problem: Problem, path: str) -> Response:
        """The response for an error of a call to this path; its code goes to `on_refused`."""
        self.on_refused(problem.code)
        if self.of(path) is ErrorForm.TEXT:
            return PlainTextResponse(problem.message, problem.status_code, problem.headers)
        return JSONResponse(problem.body(), problem.status_code, problem.headers)


def _ignore(code: str) -> None:
    """Refusals are not counted without an app."""
