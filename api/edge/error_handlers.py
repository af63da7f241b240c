"""What FastAPI does with the exceptions that routes raise."""

from fastapi import FastAPI, Request, Response
from starlette.routing import Match

from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.error_rules import HANDLED, problem_of


def handle_errors(app: FastAPI, forms: ErrorForms) -> None:
    """Answer each exception that a route raises on purpose, in the form of its path."""

    async def answer(request: Request, error: Exception) -> Response:
        path = request.scope["path"]
        problem = problem_of(error, path, forms.of(path))
        if problem.status_code == 405:
            problem.headers = {"Allow": ", ".join(_methods_at(request))}
        return forms.respond(problem, path)

    for kind in HANDLED:
        app.add_exception_handler(kind, answer)


def _methods_at(request: Request) -> list[str]:
    """All methods of a path. The router names only those of the first route that matches."""
    routes = request.app.router.routes
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes
        )
    ]
