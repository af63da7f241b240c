"""The port of operators: what is served there, what is not, and what is served nowhere else."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.support.callers import Caller
from tests.support.running_api import RunningApi, running_api
from tickertape.api.edge.route_scopes import ROUTE_SCOPES

KEY = "the-key-of-ada-01"
OF_OPERATORS = ["/metrics", "/status", "/status.json"]
FILE = re.compile(r'(?:src|href)="\\./([^"]+)"')


@contextlib.asynccontextmanager
async def separate(
    redis_url: str, **settings: object
) -> AsyncIterator[tuple[RunningApi, httpx2.AsyncClient]]:
    """An API with keys, and a client of its port for operators without any key."""
    given = {"api_keys": f"ada:{KEY}", **settings}
    async with (
        running_api(redis_url, metrics_port=0, **given) as api,  # type: ignore[arg-type]  # settings
        Caller(api.operators_url) as operator,
    ):
        yield api, operator.client


async def test_metrics_and_the_status_are_served_on_the_port_of_operators_without_a_key(
    redis_url: str,
) -> None:
    async with separate(redis_url) as (_, operator):
        assert "tickertape_subscribers" in (await operator.get("/metrics")).text
        assert (await operator.get("/status.json")).json()["verdict"]
        for path in ("/healthz", "/readyz"):
            assert (await operator.get(path)).status_code == 200
        page = await operator.get("/status")
        assert page.status_code == 200
        for file in FILE.findall(page.text):
            assert (await operator.get(f"/{file}")).status_code == 200


@pytest.mark.parametrize("keys", [f"ada:{KEY}", None], ids=["with keys", "open"])
async def test_nobody_reads_metrics_on_the_port_of_callers_with_or_without_a_key(
    redis_url: str, keys: str | None
) -> None:
    async with separate(redis_url, api_keys=keys) as (api, operator):
        for headers in ({}, {"Authorization": f"Bearer {KEY}"}):
            for path in OF_OPERATORS:
                for method in ("GET", "HEAD"):
                    # Its own address does not make a call one of operators.
                    for name in ("localhost", operator.base_url.netloc.decode()):
                        sent = {**headers, "Host": name}
                        answer = await api.client.request(method, path, headers=sent)
                        assert answer.status_code == 404, (method, path)
        assert (await operator.get("/metrics")).status_code == 200


async def test_no_call_of_a_tenant_is_served_on_the_port_of_operators(redis_url: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with separate(redis_url) as (_, operator):
        for method, path in [
            *ROUTE_SCOPES,
            ("GET", "/"),
            ("GET", "/docs"),
            ("GET", "/openapi.json"),
        ]:
            if path in OF_OPERATORS:
                continue
            answer = await operator.request(method, re.sub(r"[{}]", "", path), headers=headers)
            assert answer.status_code == 404, (method, path)


async def test_a_web_page_cannot_read_the_port_of_operators_under_a_name_of_its_own(
    redis_url: str,
) -> None:
    async with separate(redis_url) as (_, operator):
        for path in OF_OPERATORS:
            answer = await operator.get(path, headers={"Host": "evil.example"})
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "forbidden_host"
    async with separate(redis_url, metrics_host="0.0.0.0") as (_, operator):
        answer = await operator.get("/metrics", headers={"Host": "tickertape.monitoring:9100"})
        assert answer.status_code == 200


async def test_metrics_are_served_nowhere_if_their_port_is_not_open(redis_url: str) -> None:
    """As in a host application, whose server knows nothing of the setting."""
    async with running_api(redis_url, metrics_port=0, opens_operator_port=False) as api:
        for path in OF_OPERATORS:
            assert (await api.client.get(path)).status_code == 404


async def test_no_call_of_operators_is_in_the_audit_log(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    async with separate(redis_url, audit_log=str(path)) as (_, operator):
        await operator.get("/metrics")
    assert path.read_text() == ""
