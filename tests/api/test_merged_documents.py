"""The OpenAPI document of a host that documents what is mounted in it."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import structlog
from fastapi import Depends, FastAPI
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

from tickertape import mount, router

SETTINGS = {"REDIS_URL": "redis://localhost:1"}
Token = Annotated[str, Depends(OAuth2PasswordBearer("token"))]


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """A mount changes where the events of the whole process are logged."""
    yield
    structlog.reset_defaults()


def of_token(token: Token) -> str:
    return token


class ChatBody(BaseModel):
    """A class of the host that has the name of a class of Tickertape."""

    own: int


def host(*, has_mounts: bool) -> dict[str, Any]:
    """The document of a host. `/llm` has its way to recognize callers, `/v2/llm` has keys."""
    app = FastAPI()

    @app.post("/chat", tags=["requests"])
    def chat(body: ChatBody) -> ChatBody:
        return body

    if has_mounts:
        mount(app, "/llm", settings=SETTINGS, documented=True, auth=of_token)
        mount(app, "/v2/llm", settings=SETTINGS, documented=True)
    document = app.openapi()
    assert app.openapi() is document
    return document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return host(has_mounts=True)


def references(value: object) -> Iterator[str]:
    match value:
        case dict():
            for name, item in value.items():
                yield from [item] if name == "$ref" else references(item)
        case list():
            for item in value:
                yield from references(item)


def test_the_calls_of_two_mounts_stand_beside_those_of_the_host_under_names_of_their_own(
    document: dict[str, Any],
) -> None:
    plain = host(has_mounts=False)
    schemas = document["components"]["schemas"]
    assert {ref.removeprefix("#/components/schemas/") for ref in references(document)} <= {*schemas}
    for path in ("/chat", "/llm/chat/{request_id}", "/v2/llm/v1/chat/completions"):
        assert path in document["paths"]
    assert document["paths"]["/chat"] == plain["paths"]["/chat"]
    assert schemas["ChatBody"] == plain["components"]["schemas"]["ChatBody"]
    assert {"llm.ChatBody", "v2_llm.ChatBody"} <= schemas.keys()
    for prefix, name in (("/llm/", "llm."), ("/v2/llm/", "v2_llm.")):
        paths = {
            path: found for path, found in document["paths"].items() if path.startswith(prefix)
        }
        assert {ref.split("/")[3].partition(".")[0] + "." for ref in references(paths)} == {name}
    assert "requests (/llm)" in document["paths"]["/llm/chat"]["post"]["tags"]


def test_the_host_s_own_way_to_recognize_callers_takes_the_place_of_keys(
    document: dict[str, Any],
) -> None:
    def security(path: str, method: str) -> Any:
        return document["paths"][path][method]["security"]

    own: dict[str, list[str]] = {"OAuth2PasswordBearer": []}
    assert security("/llm/chat", "post") == [own, {"llm.Ticket": []}]
    assert security("/llm/conversations", "get") == [own]
    assert security("/llm/healthz", "get") == []
    assert security("/v2/llm/conversations", "get") == [{"v2_llm.HTTPBearer": []}]
    schemes = document["components"]["securitySchemes"]
    assert schemes.keys() >= {"OAuth2PasswordBearer", "llm.Ticket", "v2_llm.HTTPBearer"}
    assert "llm.HTTPBearer" not in schemes


async def test_a_router_documents_its_calls_when_the_host_runs(redis_url: str) -> None:
    app = FastAPI()
    app.include_router(router("/llm", settings={"REDIS_URL": redis_url}, documented=True))
    assert "/llm/chat" not in app.openapi()["paths"]
    async with app.router.lifespan_context(app):
        assert "/llm/chat" in app.openapi()["paths"]
