"""What a caller may do: scopes, allowed models, and an authenticator of a host application."""

import pytest

from tests.support.running_api import running_api
from tickertape.api.app import create_app
from tickertape.api.edge.caller import ALL_SCOPES, Call, Caller, CallScope
from tickertape.api.edge.listed_keys import parse_keys
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.route_scopes import ROUTE_SCOPES, needed_scope
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.settings import Settings

KEY = "a-key-of-ada-0123456789"
ADA = {"Authorization": f"Bearer {KEY}"}
_PUBLIC = {("GET", "/healthz"), ("GET", "/readyz")}


def test_every_route_needs_a_scope_or_is_public() -> None:
    paths = create_app(Settings(redis_url="redis://127.0.0.1:1")).openapi()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    listed = {(method, path.replace(":path", "")) for method, path in ROUTE_SCOPES}
    assert routes - _PUBLIC == listed


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/chat", "submit"),
        ("GET", "/chat/1/stream", "read"),
        ("HEAD", "/chat/1", "read"),
        ("DELETE", "/conversations/a/b", "erase"),
        ("POST", "/chat/1", "admin"),
        ("GET", "/nowhere", "admin"),
    ],
)
def test_a_path_without_a_route_needs_the_highest_scope(method: str, path: str, scope: str) -> None:
    assert needed_scope(method, path) == scope


def test_a_listed_key_has_all_scopes_unless_its_line_limits_them() -> None:
    keys = parse_keys(f"ada:{KEY} scopes=read+list models=small+big\nbob:b{KEY}")
    ada, bob = keys.find(KEY), keys.find(f"b{KEY}")
    assert ada is not None
    assert bob is not None
    assert ada.scopes == frozenset[CallScope]({"read", "list"})
    assert ada.models == frozenset({"small", "big"})
    assert (bob.scopes, bob.models) == (ALL_SCOPES, None)
    assert ada.key_id != bob.key_id
    assert KEY not in repr(ada)


@pytest.mark.parametrize("option", ["scopes=", "scopes=read+fly", "scope=read"])
def test_a_wrong_option_of_a_key_stops_the_start(option: str) -> None:
    with pytest.raises(SettingsInvalid, match="item 1 is wrong") as refused:
        parse_keys(f"ada:{KEY} {option}")
    assert KEY not in str(refused.value)


async def test_a_key_without_the_scope_of_a_route_is_refused_there(redis_url: str) -> None:
    keys = f"ada:{KEY} scopes=read"
    async with running_api(redis_url, api_keys=keys, headers=ADA) as api:
        assert (await api.client.get("/chat/none")).status_code == 404
        for (method, path), scope in ROUTE_SCOPES.items():
            if scope == "read":
                continue
            answer = await api.client.request(method, path.replace("{", "").replace("}", ""))
            assert answer.status_code == 403, path
            assert "missing_scope" in answer.text or path.startswith("/api/"), path
            assert f"`{scope}`" in answer.text, path


async def test_a_key_uses_only_the_models_of_its_list(redis_url: str) -> None:
    async with running_api(redis_url, api_keys=f"ada:{KEY} models=small", headers=ADA) as api:
        for model, status in (("small", 202), ("big", 403), (None, 403)):
            answer = await api.client.post("/chat", json={"message": "hi", "model": model})
            assert answer.status_code == status
            if status == 403:
                error = answer.json()["error"]
                assert (error["code"], error["param"]) == ("model_not_allowed", "model")


async def test_a_host_application_recognizes_its_own_callers(redis_url: str) -> None:
    calls: list[Call] = []

    async def by_name(call: Call) -> Caller:
        calls.append(call)
        if (name := call.headers.get("x-name")) is None:
            raise Problem(401, "no_name", "Send your name.")
        return Caller(tenant=name)

    async with running_api(redis_url, authenticator=by_name) as api:
        refused = await api.client.get("/chat?limit=3", headers={"Host": "tape.example"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "no_name")
        assert (calls[-1].path, calls[-1].query["limit"]) == ("/chat", "3")
        assert calls[-1].address == "127.0.0.1"
        for name, number in (("ada", 1), ("bob", 0)):
            if number:
                body = {"message": "hi"}
                await api.client.post("/chat", json=body, headers={"X-Name": name})
            listed = await api.client.get("/chat", headers={"X-Name": name})
            assert len(listed.json()["requests"]) == number
