"""Pure: the scope that each route needs.

A test checks that the table has every route of the API. A path without a line needs `admin`.
"""

from starlette.routing import compile_path

from tickertape.api.edge.caller import CallScope

ROUTE_SCOPES: dict[tuple[str, str], CallScope] = {
    ("POST", "/chat"): "submit",
    ("GET", "/chat"): "list",
    ("GET", "/chat/{request_id}"): "read",
    ("DELETE", "/chat/{request_id}"): "erase",
    ("POST", "/chat/{request_id}/cancel"): "cancel",
    ("GET", "/chat/{request_id}/stream"): "read",
    ("GET", "/conversations"): "list",
    ("GET", "/conversations/{conversation_id:path}"): "read",
    ("PATCH", "/conversations/{conversation_id:path}"): "submit",
    ("DELETE", "/conversations/{conversation_id:path}"): "erase",
    ("GET", "/conversations/{conversation_id:path}/stream"): "read",
    ("DELETE", "/conversations/{conversation_id:path}/turns/{request_id}"): "erase",
    ("POST", "/streams"): "read",
    # A ticket needs the scope of its right as well.
    ("POST", "/chat/{request_id}/ticket"): "read",
    ("POST", "/chat/{request_id}/tickets/revoke"): "read",
    ("POST", "/conversations/{conversation_id:path}/ticket"): "read",
    ("POST", "/conversations/{conversation_id:path}/tickets/revoke"): "read",
    ("POST", "/tickets/revoke"): "read",
    # What can be submitted: templates and models.
    ("GET", "/roles"): "submit",
    ("GET", "/roles/{name}"): "submit",
    ("GET", "/v1/models"): "submit",
    ("GET", "/v1/models/{model:path}"): "submit",
    ("POST", "/v1/chat/completions"): "submit",
    ("POST", "/v1/responses"): "submit",
    ("GET", "/v1/responses/{response_id}"): "read",
    ("DELETE", "/v1/responses/{response_id}"): "erase",
    ("POST", "/v1/responses/{response_id}/cancel"): "cancel",
    ("GET", "/v1/responses/{response_id}/input_items"): "read",
    ("POST", "/api/chat"): "submit",
    ("GET", "/api/chat/{chat_id:path}/stream"): "read",
    ("POST", "/api/chat/{chat_id:path}/stop"): "cancel",
    ("POST", "/api/v7/chat"): "submit",
    ("GET", "/api/v7/chat/{chat_id:path}/stream"): "read",
    ("POST", "/api/v7/chat/{chat_id:path}/stop"): "cancel",
    ("POST", "/agui"): "submit",
    ("GET", "/agui"): "read",
    ("POST", "/agui/stop"): "cancel",
    ("POST", "/api/gpt/get"): "submit",
    ("GET", "/status.json"): "metrics",
    ("GET", "/metrics"): "metrics",
}

_PATTERNS = [
    (method, compile_path(path)[0], scope) for (method, path), scope in ROUTE_SCOPES.items()
]


_OF_OPERATORS = frozenset({"metrics", "admin"})


def is_for_operators(method: str, path: str) -> bool:
    """Whether a route of the table has this path, and is for those who run the server."""
    method = "GET" if method == "HEAD" else method
    return any(
        known == method and scope in _OF_OPERATORS and pattern.match(path) is not None
        for known, pattern, scope in _PATTERNS
    )


def needed_scope(method: str, path: str) -> CallScope:
    """The scope that a call needs."""
    method = "GET" if method == "HEAD" else method
    if (scope := ROUTE_SCOPES.get((method, path))) is not None:
        return scope
    for known, pattern, scope in _PATTERNS:
        if known == method and pattern.match(path):
            return scope
    return "admin"
