"""The OpenAPI document: what FastAPI derives from the routes, completed and named.

Examples of bodies come from the models (`json_schema_extra`), examples of errors from
`edge/error_docs`, and the payloads of events from `native/event_schemas`.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from tickertape.api.edge.route_scopes import ROUTE_SCOPES
from tickertape.api.protocols.native.event_schemas import event_schemas
from tickertape.runtime.json_types import JsonObject

_TAGS = {
    "requests": "Submit a request, read it, cancel it, erase it.",
    "streams": "Follow requests and conversations as server-sent events. A browser's "
    "`EventSource` or `curl -N` shows them as they arrive; this page shows a stream at its end.",
    "conversations": "List conversations, read their turns, rename and erase them.",
    "tickets": "Rights to one request or one conversation for a while, for clients without a key.",
    "roles": "The templates that a request can name.",
    "openai": "For OpenAI's SDKs: Chat Completions, Responses and Models.",
    "ai sdk": "For the AI SDK's `useChat`.",
    "ag-ui": "For clients of AG-UI: CopilotKit, TanStack AI, assistant-ui.",
    "gpt terminal": "The call of GPT Terminal's page.",
    "operations": "Probes, status and metrics for operators.",
}


# FastAPI would look for these in each call once more. Calls that take a ticket take a key too.
_SCHEMES = {
    "HTTPBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, if the server has keys. A ticket is sent as `Ticket <ticket>`; "
        "streams also accept it as the query `ticket`.",
    },
    "Ticket": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "A ticket, as `Ticket tk1_...`: a right to one request or one conversation.",
    },
    "TicketOfStream": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "A ticket in the address of a stream, for a browser's `EventSource`.",
    },
}
_STREAMS = ("/chat/{request_id}/stream", "/conversations/{conversation_id}/stream")
_WITH_TICKETS = {
    ("get", "/chat/{request_id}"), ("post", "/chat/{request_id}/cancel"), ("post", "/chat"),
    ("post", "/agui"),
    ("get", "/conversations/{conversation_id}"), ("post", "/streams"),
    *(("get", path) for path in _STREAMS),
}  # fmt: skip


def operation_id(route: APIRoute) -> str:
    """A unique name for code generators: the module of the route and its function."""
    *_, folder, module = route.endpoint.__module__.split(".")
    return f"{folder if module == 'routes' else module}_{route.name}"


def document_app(app: FastAPI) -> None:
    """Make `app.openapi` return the completed document, which is made at the first call."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary="LLM answers, each generated once and streamed to any number of readers.",
        description=app.description,
        routes=app.routes,
        tags=[{"name": name, "description": words} for name, words in _TAGS.items()],
        # Relative, because only the caller knows the address of this server.
        servers=[{"url": app.state.settings.root_path or "/", "description": "This server"}],
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
    )
    document["components"]["securitySchemes"] = _SCHEMES
    schemas = document["components"]["schemas"]
    schemas.update(event_schemas())
    _document_callers(document)
    for operation in _operations(document):
        # A list of calls is read by their summaries, and a function's name says too little there.
        operation["summary"] = operation["description"].partition(".")[0]
        _show_example(operation.get("requestBody", {}), schemas)
        for response in operation["responses"].values():
            _show_example(response, schemas)
        _show_nulls(operation)
    return document


def _document_callers(document: JsonObject) -> None:
    needs_key = {(method, path.replace(":path", "")) for method, path in ROUTE_SCOPES}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            # Explicitly none, or a linter cannot tell it from a forgotten one.
            is_public = (method.upper(), path) not in needs_key
            operation["security"] = [] if is_public else [{"HTTPBearer": []}]
    for method, path in _WITH_TICKETS:
        operation = document["paths"][path][method]
        operation["security"] = [*operation["security"], {"Ticket": []}]
        if path in _STREAMS:
            operation["security"].append({"TicketOfStream": []})


def _operations(document: JsonObject) -> Iterator[JsonObject]:
    for methods in document["paths"].values():
        yield from methods.values()


def _show_nulls(operation: JsonObject) -> None:
    """Show `param` in the examples of errors where it is null, which FastAPI leaves out."""
    for response in operation["responses"].values():
        error = response.get("content", {}).get("application/json", {}).get("example", {})
        if "error" in error:
            error["error"] = {"message": "", "type": "", "param": None} | error["error"]


def _show_example(body: JsonObject, schemas: JsonObject) -> None:
    """Show the first example of the model of a body, unless the body has its own example.

    The example of a request works as it stands.
    """
    content = body.get("content", {}).get("application/json", {})
    if "example" in content:
        return
    for schema in (content.get("schema", {}), *content.get("schema", {}).get("anyOf", ())):
        model = schemas.get(str(schema.get("$ref", "")).rpartition("/")[2], {})
        if model.get("examples"):
            content["example"] = model["examples"][0]
            return
