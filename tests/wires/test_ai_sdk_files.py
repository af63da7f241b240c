"""Files of a page: the form in which a model gets each one, and files that no model accepts."""

import base64
from typing import Any

import pytest

from tests.support.rig import working
from tests.support.running_api import RunningApi
from tests.support.upstream import ScriptedUpstream
from tests.wires.pages import HI, body
from tickertape.runtime.settings import Settings

TEXT = {"type": "text", "text": "What is this?"}
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def file(media_type: str, content: bytes = b"a,b\n1,2", **fields: Any) -> dict[str, Any]:
    url = data_url(media_type, content)
    return {"type": "file", "mediaType": media_type, "url": url} | fields


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "u", "role": "user", "parts": list(parts)}


class Page:
    """A page whose messages a real worker sends upstream."""

    def __init__(self, api: RunningApi, upstream: ScriptedUpstream, redis_url: str) -> None:
        self.api = api
        self.upstream = upstream
        self.redis_url = redis_url

    async def contents(self, *messages: dict[str, Any]) -> list[Any]:
        """The contents that the worker sends upstream for these messages."""
        settings = Settings(openai_base_url=self.upstream.base_url, openai_model="m")
        async with working(self.redis_url, settings):
            answer = await self.api.client.post("/api/chat", json=body("c", *messages))
        assert answer.status_code == 200, answer.text
        return [message["content"] for message in self.upstream.calls[-1].body["messages"]]


@pytest.fixture
def page(api: RunningApi, upstream: ScriptedUpstream, redis_url: str) -> Page:
    return Page(api, upstream, redis_url)


def audio(form: str) -> dict[str, Any]:
    data = base64.b64encode(b"sound").decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


def url_part(kind: str, url: str) -> dict[str, Any]:
    return {"type": kind, kind: {"url": url}}


def pdf(name: str) -> dict[str, Any]:
    url = data_url("application/pdf", b"%PDF")
    return {"type": "file", "file": {"filename": name, "file_data": url}}


CSV = {"type": "text", "text": "a,b\n1,2"}
PNG = data_url("image/png", b"png")
FAR = "https://example.org/a"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (file("audio/wav", b"sound"), audio("wav")),
        (file("audio/x-wav", b"sound"), audio("wav")),
        (file("audio/mpeg", b"sound"), audio("mp3")),
        (file("audio/mp3; codecs=mp3", b"sound"), audio("mp3")),
        (file("text/csv"), CSV),
        (file("text/plain", "\ufeffgrün".encode()), {"type": "text", "text": "grün"}),
        (file("text/markdown; charset=utf-8"), CSV),
        (file("application/json"), CSV),
        (file("application/ld+json"), CSV),
        (file("image/svg+xml", b"<svg/>"), {"type": "text", "text": "<svg/>"}),
        # Windows reports CSV as a spreadsheet, and browsers know no type for a file ending in .rs.
        (file("application/vnd.ms-excel", filename="a.csv"), CSV),
        (file("application/octet-stream", filename="a.rs"), CSV),
        (file("text/csv") | {"mediaType": ""}, CSV),
        (file("text/csv") | {"mediaType": None}, CSV),
        (file("text/csv") | {"url": "data:text/csv,a%2Cb%0A1%2C2"}, CSV),
        (file("image/png", b"png"), url_part("image_url", PNG)),
        (file("image/png", b"png") | {"mediaType": "image/*"}, url_part("image_url", PNG)),
        (
            file("application/octet-stream", b"png") | {"mediaType": "image/png"},
            url_part("image_url", PNG),
        ),
        ({"type": "file", "mediaType": "image/png", "url": FAR}, url_part("image_url", FAR)),
        ({"type": "file", "mediaType": "video/mp4", "url": FAR}, url_part("video_url", FAR)),
        (file("application/pdf", b"%PDF", filename="a.pdf"), pdf("a.pdf")),
        (file("application/pdf", b"%PDF", filename=3), pdf("file")),
        (file("", b"%PDF") | {"mediaType": "application/pdf"}, pdf("file")),
    ],
)
async def test_a_file_is_sent_in_the_form_of_its_type(
    page: Page, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert await page.contents(user(TEXT, given)) == [[TEXT, expected]]


NO_FORM = [
    file(WORD),
    file("application/zip", b"PK\x03\x04\xff\0"),
    file("application/octet-stream", b"\xff\0"),
    file("application/octet-stream", b"text, but for a \0"),
    file("audio/ogg"),
    file("audio/webm"),
    file("text/csv", "für".encode("latin-1")),
    file("text/csv") | {"url": "data:text/csv;base64,###"},
    {"type": "file", "mediaType": "text/csv", "url": FAR},
    {"type": "file", "mediaType": "audio/wav", "url": FAR},
    {"type": "file", "mediaType": "application/pdf", "url": FAR},
    {"type": "file", "mediaType": "image/png"},
    {"type": "file", "mediaType": 3, "url": ["x"]},
    {"type": "file"},
]


@pytest.mark.parametrize("given", NO_FORM)
async def test_a_file_that_no_model_accepts_is_refused_by_its_path_and_not_remembered(
    api: RunningApi, given: dict[str, Any]
) -> None:
    for asked, place in (
        ({"messages": [HI, user(TEXT, given)]}, "messages[1].parts[1]: "),
        ({"message": user(given)}, "message.parts[0]: "),
    ):
        answer = await api.client.post("/api/chat", json={"id": "c", **asked})
        assert (answer.status_code, answer.text[: len(place)]) == (400, place)
        assert len(answer.text) < 120
    assert (await api.client.get("/conversations/c")).status_code == 404


@pytest.mark.parametrize("given", NO_FORM)
async def test_a_page_that_keeps_a_refused_file_can_send_more_messages(
    page: Page, given: dict[str, Any]
) -> None:
    contents = await page.contents(user(TEXT, given), user({"type": "text", "text": "Then not."}))
    note = "[A file was left out here: this model does not take it.]"
    assert contents == [[TEXT, {"type": "text", "text": note}], "Then not."]
