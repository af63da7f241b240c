"""The API documentation agrees with the server: its calls, its error shape, its streams."""

from collections.abc import Iterator
from typing import Any

import pytest

from tickertape.api.app import create_app
from tickertape.runtime.settings import Settings

CALLS = {
    ("post", "/chat"),
    ("get", "/chat"),
    ("get", "/chat/{request_id}"),
    ("delete", "/chat/{request_id}"),
    ("post", "/chat/{request_id}/cancel"),
    ("get", "/chat/{request_id}/stream"),
    ("get", "/conversations/{conversation_id}"),
    ("delete", "/conversations/{conversation_id}"),
    ("get", "/conversations/{conversation_id}/stream"),
    ("get", "/roles"),
    ("get", "/roles/{name}"),
    ("post", "/api/gpt/get"),
    ("post", "/api/chat"),
    ("get", "/api/chat/{chat_id}/stream"),
    ("post", "/api/chat/{chat_id}/stop"),
    ("post", "/v1/chat/completions"),
    ("get", "/v1/models"),
    ("get", "/v1/models/{model}"),
    ("post", "/v1/responses"),
    ("get", "/v1/responses/{response_id}"),
    ("delete", "/v1/responses/{response_id}"),
    ("post", "/v1/responses/{response_id}/cancel"),
    ("get", "/v1/responses/{response_id}/input_items"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/status.json"),
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return dict(create_app(Settings(redis_url="redis://127.0.0.1:1")).openapi())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_call_is_documented(document: dict[str, Any]) -> None:
    documented = {(method, path) for method, path, _ in operations(document)}
    assert documented >= CALLS


def test_every_call_has_a_summary(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        assert operation.get("description"), f"{method} {path}"


def test_documented_errors_have_the_shape_of_problems_and_not_fastapis(
    document: dict[str, Any],
) -> None:
    schemas = document["components"]["schemas"]
    # OpenAI defines the schema of an image.
    named = {name for name, schema in schemas.items() if "detail" in schema.get("properties", {})}
    assert named == {"ImageUrl"}
    assert "HTTPValidationError" not in schemas
    for method, path, operation in operations(document):
        responses = operation["responses"]
        assert "422" not in responses
        for status, response in responses.items():
            if status == "default" or status.startswith(("4", "5")):
                (media_type, content), *others = response["content"].items()
                assert not others
                if path.startswith("/api/"):
                    assert media_type == "text/plain"
                else:
                    name = content["schema"]["$ref"].rpartition("/")[2]
                    assert name == "ErrorBody", f"{method} {path} {status}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/chat/{request_id}/stream"),
        ("get", "/conversations/{conversation_id}/stream"),
        ("post", "/api/gpt/get"),
    ],
)
def test_streams_are_documented_as_streams(
    document: dict[str, Any], method: str, path: str
) -> None:
    content = document["paths"][path][method]["responses"]["200"]["content"]
    assert list(content) == ["text/event-stream"]


def test_a_submit_documents_both_success_statuses(document: dict[str, Any]) -> None:
    responses = document["paths"]["/chat"]["post"]["responses"]
    for status in ("200", "202"):
        schema = responses[status]["content"]["application/json"]["schema"]
        assert schema["$ref"].endswith("/SubmittedView")


def test_api_keys_are_documented_when_they_are_required(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for method, path, operation in operations(document):
        is_public = path in {"/healthz", "/readyz"}
        assert ("security" in operation) != is_public, f"{method} {path}"


def test_a_body_has_its_examples_in_the_documentation(document: dict[str, Any]) -> None:
    properties = document["components"]["schemas"]["ChatBody"]["properties"]
    assert "Why is the sky blue?" in str(properties["message"])
    assert document["components"]["schemas"]["ChatBody"]["additionalProperties"] is False
