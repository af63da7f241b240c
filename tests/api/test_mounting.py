"""Tickertape below a path of another FastAPI application."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx2
import pytest
import structlog
from fastapi import Depends, FastAPI, Header, HTTPException

from tests.support.hosts import serving
from tests.support.rig import working
from tests.support.sse import collect, text_of
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape import Caller, mount, router
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.settings import Settings

# Loading the system's authorities takes longer than a test.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """A mount changes where the events of the whole process are logged."""
    yield
    structlog.reset_defaults()


User = Annotated[str | None, Header(alias="X-User")]


def user_of(x_user: User = None) -> str:
    if x_user is None:
        raise HTTPException(418, "the host refuses strangers in its own words")
    return x_user


def settings_of(redis_url: str) -> dict[str, object]:
    return {"REDIS_URL": redis_url, "TICKERTAPE_LEASE_S": 2}


async def is_ready(client: httpx2.AsyncClient, path: str = "/llm") -> bool:
    return (await client.get(f"{path}/readyz")).status_code == 200


@asynccontextmanager
async def host_with(
    redis_url: str, *, auth: Any = user_of, hands_over: bool = False
) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    mount(app, "/llm", auth=auth, settings=settings_of(redis_url))
    async with (
        serving(app, hands_over=hands_over) as url,
        httpx2.AsyncClient(base_url=url, headers={"X-User": "ada"}, verify=NO_TLS) as client,
    ):
        # Not ready yet: the first call waits for Redis. A probe that came too early stays for 1 s.
        yield client


@pytest.mark.parametrize("hands_over", [False, True], ids=["plain ASGI", "hand-over"])
async def test_the_users_of_a_host_submit_and_read_their_own_requests(
    redis_url: str, upstream: ScriptedUpstream, hands_over: bool
) -> None:
    worker = Settings(redis_url=redis_url, openai_base_url=upstream.base_url)
    async with host_with(redis_url, hands_over=hands_over) as client, working(redis_url, worker):
        submitted = await client.post("/llm/chat", json={"message": "hi"})
        assert submitted.status_code == 202
        path = submitted.headers["Location"]
        assert path == f"/llm/chat/{submitted.json()['request_id']}"
        events = await collect(f"{client.base_url}{path}/stream", {"X-User": "ada"})
        assert events[-1].kind == "completed"
        assert text_of(events)
        assert (await client.get(path, headers={"X-User": "bob"})).status_code == 404
        assert (await client.get(path)).json()["text"] == text_of(events)


async def test_a_host_answers_what_its_own_dependency_raises(redis_url: str) -> None:
    async with host_with(redis_url) as client:
        del client.headers["X-User"]
        refused = await client.post("/llm/chat", json={"message": "hi"})
        assert refused.status_code == 418
        assert "in its own words" in refused.text


@pytest.mark.parametrize(
    ("found", "status"), [(None, 401), ("", 401), (7, 500), (Caller(tenant="a"), 202), ("ada", 202)]
)
async def test_what_the_auth_of_a_host_returns_is_a_caller_or_no_one(
    redis_url: str, found: object, status: int
) -> None:
    async with host_with(redis_url, auth=lambda: found) as client:
        answer = await client.post("/llm/chat", json={"message": "hi"})
        assert answer.status_code == status
        if status != 202:
            assert answer.json()["error"]["message"]


async def test_the_page_the_documents_and_the_probes_need_no_user(redis_url: str) -> None:
    async with host_with(redis_url) as client:
        del client.headers["X-User"]
        for path in ("/llm/", "/llm/healthz", "/llm/openapi.json", "/llm/docs"):
            assert (await client.get(path)).status_code == 200, path
        assert (await client.get("/llm")).headers["Location"] == "/llm/"
        documents = (await client.get("/openapi.json")).json()
        assert not documents["paths"]


async def test_a_host_with_two_mounts_keeps_its_lifespan_and_its_routes(redis_url: str) -> None:
    steps = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        steps.append("begun")
        yield {"of": "host"}
        steps.append("ended")

    app = FastAPI(lifespan=lifespan)
    app.include_router(router("/a", auth=lambda: "ada", settings=settings_of(redis_url)))
    app.include_router(router("/b", auth=lambda: "bob", settings=settings_of(redis_url)))

    @app.get("/own")
    async def own(who: Annotated[str, Depends(user_of)]) -> str:
        return who

    async with serving(app) as url, httpx2.AsyncClient(base_url=url, verify=NO_TLS) as client:
        for path in ("/a", "/b"):
            await wait_until(lambda at=path: is_ready(client, at), description="a mount is ready")  # type: ignore[misc]
        assert steps == ["begun"]
        assert (await client.get("/own", headers={"X-User": "eve"})).json() == "eve"
        submitted = (await client.post("/a/chat", json={"message": "hi"})).json()
        assert (await client.get(f"/a/chat/{submitted['request_id']}")).status_code == 200
        assert (await client.get(f"/b/chat/{submitted['request_id']}")).status_code == 404
    assert steps == ["begun", "ended"]


@pytest.mark.parametrize(
    "prefix", ["", "llm", "/llm/", "/", "//llm", "/../llm", "/a/./b", "/{user}"]
)
def test_a_prefix_in_another_form_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match=r"the prefix is .*as /llm"):
        router(prefix, settings={"REDIS_URL": "redis://localhost"})


def test_a_setting_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="redis_url is not a setting"):
        router(settings={"redis_url": "redis://localhost"})


async def test_events_are_logged_by_the_host(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tickertape")
    async with host_with(redis_url) as client:
        await client.post("/llm/chat", json={"message": "a secret"})
    assert [each.name for each in caplog.records if "submitted" in each.message] == [
        "tickertape.api"
    ]
    assert "a secret" not in caplog.text


@pytest.mark.parametrize("outer", ["/llm-apps", "/llm", "/apps"])
async def test_an_application_with_a_mount_may_itself_be_mounted(
    redis_url: str, outer: str
) -> None:
    app = FastAPI()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app):
            yield

    host = FastAPI(lifespan=lifespan)
    root = {"TICKERTAPE_ROOT_PATH": f"{outer}/llm"}
    mount(app, auth=user_of, settings=settings_of(redis_url) | root)
    host.mount(outer, app)
    async with serving(host) as url:
        options = {"base_url": f"{url}{outer}", "headers": {"X-User": "ada"}}
        async with httpx2.AsyncClient(**options, verify=NO_TLS) as client:  # type: ignore[arg-type]  # of two types
            submitted = await client.post("/llm/chat", json={"message": "hi"})
            assert submitted.headers["Location"].startswith(f"{outer}/llm/chat/")
            assert (await client.get("/llm")).headers["Location"] == f"{outer}/llm/"
            del client.headers["X-User"]
            assert (await client.get("/llm/healthz")).status_code == 200
            assert (await client.post("/llm/chat", json={"message": "hi"})).status_code == 418


async def test_a_mount_without_its_lifespan_says_so(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, host = FastAPI(), FastAPI()
    mount(app, auth=lambda: "ada", settings=settings_of(redis_url))
    host.mount("/apps", app)
    async with serving(host) as url, httpx2.AsyncClient(base_url=url, verify=NO_TLS) as client:
        refused = await client.post("/apps/llm/chat", json={"message": "hi"})
    assert refused.status_code == 500
    assert "without its lifespan" in refused.text
    assert "let the outer application run the lifespan" in caplog.text


@pytest.mark.parametrize("tenant", ["acme~0123456789abcdef0123456789abcdef", "", "a b", "*"])
async def test_a_tenant_whose_name_may_be_that_of_another_s_user_is_refused(
    redis_url: str, tenant: str
) -> None:
    async with host_with(redis_url, auth=lambda: Caller(tenant=tenant)) as client:
        assert (await client.post("/llm/chat", json={"message": "hi"})).status_code == 500
    with pytest.raises(ValueError, match="use 1 to 64 letters"):
        router(auth=lambda: "ada", tenant=tenant, settings=settings_of(redis_url))
