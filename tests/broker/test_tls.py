"""Redis over TLS, as docs/redis.md describes it: its lines are run as they stand there."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import redis

from tests.support.followers import following
from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.script import Finish, Role, Text, Wait
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


class Server(NamedTuple):
    """The account and the port for TLS, and a client that goes without."""

    account: str
    port: str
    admin: redis.Redis


@pytest.fixture
def server(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    if not TLS_PROGRAM.exists():
        pytest.skip("needs the package redis-server, which has TLS")
    monkeypatch.setenv(PROGRAM_VARIABLE, str(TLS_PROGRAM))
    settings = tls_settings(certificates, open_port())
    with (
        valkey_server(settings=settings) as running,
        redis.Redis.from_url(running.url) as admin,
    ):
        yield Server(f":{urlsplit(running.url).password}@", settings["tls-port"], admin)


def url_of(server: Server, authority: Path, host: str = "localhost") -> str:
    return f"rediss://{server.account}{host}:{server.port}/0?ssl_ca_certs={authority}"


async def test_an_api_and_a_worker_reach_redis_over_tls(
    server: Server, certificates: Path, upstream: ScriptedUpstream
) -> None:
    url = url_of(server, certificates / "ca.crt")
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m"}
    async with running_api(url) as api, working(url, Settings.model_validate(fields)):
        request_id = await api.submit()
        stream = await api.client.get(f"/chat/{request_id}/stream")
    assert "Hello, world." in stream.text


async def test_all_certificates_are_replaced_in_mid_answer(
    server: Server,
    certificates: Path,
    upstream: ScriptedUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Both sides get certificates of another authority, and all connections are cut."""
    new, ours = tmp_path_factory.mktemp("new"), tmp_path_factory.mktemp("ours")
    make_certificates(new)
    shutil.copytree(certificates, ours, dirs_exist_ok=True)
    url = url_of(server, ours / "ca.crt")
    url += f"&ssl_certfile={ours}/redis.crt&ssl_keyfile={ours}/redis.key"
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m"}
    gate = asyncio.Event()
    upstream.script = [Role(), Text("a"), Wait(gate), Text("b"), Finish()]
    server.admin.config_set("tls-auth-clients", "yes")
    async with running_api(url) as api, working(url, Settings.model_validate(fields)):
        request_id = await api.submit()
        async with following(api.stream_url(request_id)) as reader:
            await reader.shows("a")
            # The key does not fit the certificate yet, so those in use stay.
            shutil.copy(new / "redis.crt", ours)
            cut_all(server.admin)
            assert await api.submit()
            shutil.copytree(new, ours, dirs_exist_ok=True)
            server.admin.execute_command(  # type: ignore[no-untyped-call]  # bare in redis-py
                "CONFIG", "SET",
                "tls-cert-file", str(new / "redis.crt"),
                "tls-key-file", str(new / "redis.key"),
                "tls-ca-cert-file", str(new / "ca.crt"),
            )  # fmt: skip
            cut_all(server.admin)
            gate.set()
            await reader.ends()
            assert (reader.text, reader.kinds) == ("ab", ["queued", "started", "completed"])


def cut_all(admin: redis.Redis) -> None:
    """Cut all other connections."""
    for kind in ("NORMAL", "PUBSUB"):
        admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "YES")  # type: ignore[no-untyped-call]  # bare in redis-py


async def test_a_certificate_of_another_authority_or_host_is_refused(
    server: Server, certificates: Path, tmp_path_factory: pytest.TempPathFactory
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
