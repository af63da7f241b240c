"""The routes that are called most often, whose arguments are found without FastAPI.

For each call, FastAPI searches the route, enters exit stacks and solves the route's dependencies.
That is a quarter of what a submit costs an API process. A quick route stands in front of FastAPI's
router and of the route that it is made of, and finds once for all calls where the arguments are.
The FastAPI route documents the endpoint. It also answers the calls without a body that has a
length, so that their errors are FastAPI's own.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.error_rules import HANDLED, problem_of
from tickertape.api.protocols.json_body import JsonRequest

Find = Callable[[Request], Awaitable[object]]


class QuickRoute:
    """Answers the calls of a FastAPI route. Errors pass to the handlers of the app.

    Raises TypeError for a route with a parameter that only FastAPI can find.
    """

    def __init__(self, route: APIRoute) -> None:
        self.path = route.path
        self._route = route
        self._method = next(iter(route.methods or ()), "")
        self._pattern = route.path_regex if route.param_convertors else None
        self._endpoint: Callable[..., Any] = route.endpoint
        of_route = route.dependant
        self._has_query = bool(of_route.query_params)
        self._headers = frozenset(
            (field.field_info.alias or field.alias).lower().encode()
            for field in of_route.header_params
        )
        self._dependencies = [(str(each.name), _find(each)) for each in of_route.dependencies]
        self._body = of_route.body_params[0].name if of_route.body_params else ""
        self._body_type: TypeAdapter[Any] | None = None
        if self._body:
            # FastAPI types an annotation as a class or nothing.
            annotation: Any = of_route.body_params[0].field_info.annotation
            self._body_type = TypeAdapter(annotation)
        if route.response_field is not None:
            self._serialize = route.response_field.serialize_json
        _refuse_others(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's routes. A call that this route does not answer matches a later one."""
        path_params: dict[str, str] = {}
        if scope["type"] != "http" or scope["method"] != self._method or scope.get("root_path"):
            return Match.NONE, {}
        if self._pattern is None:
            if scope["path"] != self.path:
                return Match.NONE, {}
        elif (found := self._pattern.match(scope["path"])) is None:
            return Match.NONE, {}
        else:
            path_params = found.groupdict()
        if self._body and not _has_sized_body(scope):
            return Match.NONE, {}
        return Match.FULL, {"endpoint": self._endpoint, "path_params": path_params}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call that matches."""
        request = JsonRequest(scope, receive)
        # In FastAPI's order, so that the first of several errors is the same one.
        arguments = await self._read_body(request) if self._body else {}
        for name, find in self._dependencies:
            arguments[name] = await find(request)
        arguments.update(scope["path_params"])
        self._read_parameters(request, arguments)
        of_route = self._route.dependant
        if of_route.request_param_name:
            arguments[of_route.request_param_name] = request
        if of_route.response_param_name is None:
            answer: Response = await self._endpoint(**arguments)
        else:
            answer = await self._model(of_route.response_param_name, arguments)
        await answer(scope, receive, send)

    async def _read_body(self, request: JsonRequest) -> dict[str, Any]:
        request.body_type = self._body_type
        try:
            return {self._body: await request.json()}
        except json.JSONDecodeError as error:
            fault = {
                "type": "json_invalid",
                "loc": ("body", error.pos),
                "msg": "JSON decode error",
                "input": {},
                "ctx": {"error": error.msg},
            }
            raise RequestValidationError([fault], body=error.doc) from error
        except HTTPException:
            raise
        except Exception as error:
            raise HTTPException(400, "There was an error parsing the body") from error

    def _read_parameters(self, request: Request, arguments: dict[str, Any]) -> None:
        """Find what the query and the headers have. The endpoint knows the default values."""
        of_route, errors = self._route.dependant, list[Any]()
        if self._has_query and request.scope["query_string"]:
            values, errors = request_params_to_args(of_route.query_params, request.query_params)
            arguments.update(values)
        if self._headers and any(name in self._headers for name, _ in request.scope["headers"]):
            values, faults = request_params_to_args(of_route.header_params, request.headers)
            arguments.update(values)
            errors = [*errors, *faults]
        if errors:
            raise RequestValidationError(errors)

    async def _model(self, response_name: str, arguments: dict[str, Any]) -> Response:
        """The response of an endpoint that returns a model, and sets status and headers."""
        route = self._route
        given = arguments[response_name] = Response(status_code=route.status_code or 200)
        del given.headers["content-length"]
        view = await self._endpoint(**arguments)
        content = self._serialize(view, exclude_unset=route.response_model_exclude_unset)
        answer = Response(content, given.status_code, media_type="application/json")
        answer.headers.raw.extend(given.headers.raw)
        return answer


class QuickRoutes:
    """The innermost guard of an app, which answers the calls of quick routes.

    Behind it, FastAPI has five more layers, among them an exit stack, and each message of a call
    passes all of them.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[QuickRoute], forms: ErrorForms) -> None:
        self._app = app
        self._routes = routes
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for route in self._routes:
            match, of_route = route.matches(scope)
            if match is Match.FULL:
                scope.update(of_route)
                await self._answer(route, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _answer(self, route: QuickRoute, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await route.handle(scope, receive, send)
        except HANDLED as error:
            path = scope["path"]
            problem = problem_of(error, path, self._forms.of(path))
            await self._forms.respond(problem, path)(scope, receive, send)


def quick_routes(
    routers: Iterable[APIRouter], endpoints: Iterable[Callable[..., Any]]
) -> list[QuickRoute]:
    """The quick routes of these endpoints."""
    wanted = list(endpoints)
    return [
        QuickRoute(route)
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and route.endpoint in wanted
    ]


def _has_sized_body(scope: Scope) -> bool:
    return any(name == b"content-length" and value != b"0" for name, value in scope["headers"])


def _find(dependency: Dependant) -> Find:
    """The function of a dependency, which takes the call alone: see api/dependencies.py."""
    found: Find | None = dependency.call
    if found is None or not dependency.request_param_name or dependency.dependencies:
        raise TypeError("dependencies of quick routes take the call alone")
    return found


def _refuse_others(route: APIRoute) -> None:
    of_route = route.dependant
    paths = [field.field_info for field in of_route.path_params]
    if (
        of_route.cookie_params
        or of_route.background_tasks_param_name
        or len(of_route.body_params) > 1
        or any(path.metadata or path.annotation is not str for path in paths)
    ):
        raise TypeError(f"{route.path}: a quick route has no such parameter")
