"""The API documentation agrees with the server: its calls, its error shape, its streams."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.upstream import ScriptedUpstream
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
    ("post", "/api/v7/chat"),
    ("get", "/api/v7/chat/{chat_id}/stream"),
    ("post", "/api/v7/chat/{chat_id}/stop"),
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

SUBMITS = ("/chat", "/api/gpt/get", "/api/chat", "/v1/chat/completions", "/v1/responses")


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
        assert (operation["security"] == []) == is_public, f"{method} {path}"


def test_a_body_has_its_examples_in_the_documentation(document: dict[str, Any]) -> None:
    properties = document["components"]["schemas"]["ChatBody"]["properties"]
    assert "Why is the sky blue?" in str(properties["message"])
    assert document["components"]["schemas"]["ChatBody"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/conversations"),
        ("get", "/conversations/{conversation_id}"),
        ("patch", "/conversations/{conversation_id}"),
        ("get", "/status.json"),
    ],
)
def test_an_answer_has_a_whole_example(document: dict[str, Any], method: str, path: str) -> None:
    content = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]
    model = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    assert {*model.get("required", ())} <= {*content["example"]} <= {*model["properties"]}


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert document["servers"] == [{"url": "/", "description": "This server"}]


def test_every_call_has_a_name_and_a_summary_of_its_own(document: dict[str, Any]) -> None:
    calls = [operation for _, _, operation in operations(document)]
    names = [operation["operationId"] for operation in calls]
    assert len(set(names)) == len(names)
    assert "requests_submit" in names
    assert "openai_responses_create" in names
    summaries = [operation["summary"] for operation in calls]
    assert len(set(summaries)) == len(summaries)
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    assert tags == {operation["tags"][0] for operation in calls}


def test_every_parameter_is_explained(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{method} {path} {parameter['name']}"


def test_each_status_of_an_error_has_an_example_of_its_own(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        examples = [
            str(content["example"])
            for status, response in operation["responses"].items()
            if status[0] in "45d"
            for content in response["content"].values()
        ]
        assert len(set(examples)) == len(examples), f"{method} {path}"


def test_every_event_of_a_stream_has_a_schema(document: dict[str, Any]) -> None:
    content = document["paths"]["/chat/{request_id}/stream"]["get"]["responses"]["200"]["content"]
    links = content["text/event-stream"]["x-events"]
    assert {"started", "delta", "completed", "heartbeat", "position"} <= set(links)
    for link in links.values():
        assert document["components"]["schemas"][link["$ref"].rpartition("/")[2]]["description"]
    assert '"prev"' not in content["text/event-stream"]["example"]


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, tenant_limit=5) as running:
        yield running


def example_of(document: dict[str, Any], path: str, method: str = "post") -> Any:
    body = document["paths"][path][method]["requestBody"]
    return body["content"]["application/json"]["example"]


async def test_the_example_of_each_submit_works_as_it_stands_on_a_fresh_server(
    document: dict[str, Any], api: RunningApi, redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = Settings.model_validate({"openai_base_url": upstream.base_url})
    async with working(redis_url, settings):
        for path in SUBMITS:
            answer = await api.client.post(path, json=example_of(document, path))
            assert answer.status_code in {200, 202}, f"{path}: {answer.text}"
        stop = "/api/chat/{chat_id}/stop"
        answer = await api.client.post("/api/chat/demo/stop", json=example_of(document, stop))
        assert answer.status_code == 200
        rename = "/conversations/{conversation_id}"
        answer = await api.client.patch(
            "/conversations/sky", json=example_of(document, rename, "patch")
        )
        assert answer.status_code == 200, answer.text
        async with api.client.stream(
            "POST", "/streams", json=example_of(document, "/streams")
        ) as stream:
            assert stream.status_code == 200


async def test_the_examples_of_errors_are_what_the_server_answers(
    document: dict[str, Any], api: RunningApi
) -> None:
    responses = document["paths"]["/chat"]["post"]["responses"]

    def documented(status: int) -> Any:
        return responses[str(status)]["content"]["application/json"]["example"]

    answer = await api.client.post("/chat", json={"message": "hi", "temperature": 3})
    assert (answer.status_code, answer.json()) == (400, documented(400))
    answer = await api.client.post("/chat", content=b"hi", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()) == (415, documented(415))
    too_large = b'{"message": "' + b"x" * 20_971_520 + b'"}'
    headers = {"Content-Type": "application/json"}
    answer = await api.client.post("/chat", content=too_large, headers=headers)
    assert (answer.status_code, answer.json()) == (413, documented(413))
    for _ in range(5):
        await api.submit(conversation_id="c")
    answer = await api.client.post("/chat", json={"message": "hi"})
    assert (answer.status_code, answer.json()) == (429, documented(429))
    missing = await api.client.get("/chat/r0_" + "a" * 26)
    read = document["paths"]["/chat/{request_id}"]["get"]["responses"]["404"]
    assert missing.json() == read["content"]["application/json"]["example"]
