"""Redis over TLS, as docs/redis.md describes it: its lines are run as they stand there."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.servers import PROGRAM_VARIABLE, open_port, valkey_server
from tests.support.tls import TLS_PROGRAM, make_certificates, tls_settings
from tests.support.upstream import ScriptedUpstream
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.runtime.settings import Settings


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    make_certificates(tmp_path)
    return tmp_path


@pytest.fixture
def server(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    if not TLS_PROGRAM.exists():
        pytest.skip("needs the package redis-server, which has TLS")
    monkeypatch.setenv(PROGRAM_VARIABLE, str(TLS_PROGRAM))
    settings = tls_settings(certificates, open_port())
    with valkey_server(settings=settings) as running:
        yield f":{urlsplit(running.url).password}@", settings["tls-port"]


def url_of(server: tuple[str, str], authority: Path, host: str = "localhost") -> str:
    account, port = server
    return f"rediss://{account}{host}:{port}/0?ssl_ca_certs={authority}"


async def test_an_api_and_a_worker_reach_redis_over_tls(
    server: tuple[str, str], certificates: Path, upstream: ScriptedUpstream
) -> None:
    url = url_of(server, certificates / "ca.crt")
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m"}
    async with running_api(url) as api, working(url, Settings.model_validate(fields)):
        request_id = await api.submit()
        stream = await api.client.get(f"/chat/{request_id}/stream")
    assert "Hello, world." in stream.text


async def test_a_certificate_of_another_authority_or_host_is_refused(
    server: tuple[str, str], certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    make_certificates(other)
    for url in (
        url_of(server, other / "ca.crt"),
        # This address is not in the certificate.
        url_of(server, certificates / "ca.crt", host="127.0.0.2"),
    ):
        connections = Connections(url)
        with pytest.raises(Unavailable):
            await connections.ask("PING")
        await connections.aclose()
