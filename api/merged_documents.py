"""The OpenAPI document of a host with the calls of what is mounted in it.

Every name of the mount that could be one of the host gets the prefix of the mount: schemas, the
names of operations, tags, and schemes of security.
"""

import re
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, FastAPI

from tickertape.runtime.json_types import JsonObject

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_SCHEMAS, _SCHEMES = "#/components/schemas/", "securitySchemes"


def document_in(
    host: FastAPI, inner: FastAPI, prefix: str, auth: Callable[..., object] | None
) -> None:
    """Let the document of `host` have the calls of `inner` too, from the next look on."""
    own = host.openapi
    last: tuple[JsonObject, JsonObject] | None = None

    def openapi() -> JsonObject:
        nonlocal last
        document = own()
        if last is None or last[0] is not document:
            callers = _callers_document(auth) if auth is not None else None
            last = document, merged(document, inner.openapi(), prefix, callers)
        return last[1]

    host.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def merged(
    host: JsonObject, inner: JsonObject, prefix: str, callers: JsonObject | None
) -> JsonObject:
    """Pure: the document of a host with that of a mount. Both stay as they are.

    `callers` is a document with one call, which recognizes callers as the host does; None if the
    mount has keys of its own.
    """
    name = _NOT_IN_NAMES.sub("_", prefix.strip("/"))
    renamed = _renamed(inner, f"{name}.")
    parts, own = renamed["components"], host.get("components", {})
    schemes = {f"{name}.{scheme}": found for scheme, found in parts[_SCHEMES].items()}
    security = None
    if callers is not None:
        schemes = {**_schemes(callers), **_tickets_only(schemes)}
        security = _security(callers)
    paths = {
        f"{prefix}{path}": {
            method: _operation(operation, name, prefix, security)
            for method, operation in methods.items()
        }
        for path, methods in renamed["paths"].items()
    }
    return {
        **host,
        "paths": {**host["paths"], **paths},
        "tags": [*host.get("tags", ()), *(_tag(tag, prefix) for tag in renamed["tags"])],
        "components": {
            **own,
            "schemas": {
                **own.get("schemas", {}),
                **{f"{name}.{each}": schema for each, schema in parts["schemas"].items()},
            },
            _SCHEMES: {**schemes, **own.get(_SCHEMES, {})},
        },
    }


def _operation(
    operation: JsonObject, name: str, prefix: str, callers: list[JsonObject] | None
) -> JsonObject:
    needed = [
        {f"{name}.{scheme}": scopes for scheme, scopes in each.items()}
        for each in operation["security"]
    ]
    if callers is not None and needed:
        # The host's own way takes the place of keys. Tickets count beside it.
        needed = [*callers, *(each for each in needed if f"{name}.HTTPBearer" not in each)]
    return {
        **operation,
        "operationId": f"{name}_{operation['operationId']}",
        "tags": [f"{tag} ({prefix})" for tag in operation["tags"]],
        "security": needed,
    }


def _tag(tag: JsonObject, prefix: str) -> JsonObject:
    return {**tag, "name": f"{tag['name']} ({prefix})"}


def _renamed(value: object, name: str) -> JsonObject:
    """The value with other names in all references to schemas."""

    def rename(item: object) -> object:
        match item:
            case dict():
                return {key: rename(each) for key, each in item.items()}
            case list():
                return [rename(each) for each in item]
            case str() if item.startswith(_SCHEMAS):
                return f"{_SCHEMAS}{name}{item.removeprefix(_SCHEMAS)}"
        return item

    found = rename(value)
    return found if isinstance(found, dict) else {}


def _tickets_only(schemes: JsonObject) -> JsonObject:
    return {name: found for name, found in schemes.items() if not name.endswith(".HTTPBearer")}


def _schemes(document: JsonObject) -> JsonObject:
    found: JsonObject = document.get("components", {}).get(_SCHEMES, {})
    return found


def _security(document: JsonObject) -> list[JsonObject]:
    found: list[JsonObject] = document["paths"]["/"]["get"].get("security", [{}])
    return found


def _callers_document(auth: Callable[..., object]) -> JsonObject:
    """What FastAPI writes of a call with this dependency."""
    app = FastAPI()

    @app.get("/")
    def call(_: Annotated[object, Depends(auth)]) -> None: ...

    return app.openapi()
