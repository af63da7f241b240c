"""Wrong set-ups of Redis and of REDIS_URL."""

import os
from unittest.mock import patch

import pytest

from tests.cli.setup_stage import Setups, Stage
from tests.support.given_settings import GivenSettings
from tests.support.rig import open_rig
from tests.support.running_api import running_api
from tests.support.server_programs import OLD_REDIS, packaged_server
from tests.support.servers import PROGRAM_VARIABLE, open_port
from tests.support.tls import TLS_PROGRAM, make_certificates, tls_settings

OF_REDIS = Setups()
_add, _setting = OF_REDIS.add, OF_REDIS.setting


@_add("no Redis there", "redis-away")
async def _(stage: Stage) -> None:
    stage.env["REDIS_URL"] = f"redis://127.0.0.1:{open_port()}/0"


@_add("a database that Redis does not have", "redis-database")
async def _(stage: Stage) -> None:
    stage.env["REDIS_URL"] = (await stage.server()).url.removesuffix("/0") + "/99"


_setting("REDIS_URL in quotation marks", "settings-value", REDIS_URL='"redis://127.0.0.1:6379/0"')


@_add("a web server at the port of Redis", "redis-foreign")
async def _(stage: Stage) -> None:
    port = stage.listener(answers=b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    stage.env["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"


def account(name: str, case: str, *rules: str) -> None:
    """Add a set-up whose account lacks a right."""

    async def cause(stage: Stage) -> None:
        stage.env["REDIS_URL"] = stage.account((await stage.server()).url, *rules)

    _add(name, case)(cause)


account("an account without INFO", "redis-unasked", "~*", "&*", "+@all", "-info")
account("an account without SPUBLISH", "redis-rights", "~*", "&*", "+@all", "-spublish")
account("an account without channels", "redis-rights", "~*", "+@all")
account("an account for other keys", "redis-rights", "~other:*", "&*", "+@all")


def configured(name: str, case: str, **config: str) -> None:
    """Add a set-up whose Redis is configured so."""

    async def cause(stage: Stage) -> None:
        admin = await stage.admin()
        for option, value in config.items():
            admin.config_set(option.replace("_", "-"), value)

    _add(name, case)(cause)


configured("an eviction policy", "redis-eviction", maxmemory_policy="allkeys-lru")


@_add("a full memory", "redis-full")
async def _(stage: Stage) -> None:
    admin = await stage.admin()
    admin.set("filler", b"x" * 4_000_000)
    admin.config_set("maxmemory", "3mb")
    stage.env["TICKERTAPE_QUEUE_BYTES"] = "1000000"


configured("less memory than the queue may need", "redis-memory", maxmemory="3mb")
configured("no append-only file", "redis-aof", appendonly="no")
configured("12 connections", "redis-maxclients", maxclients="12")
configured(
    "a small buffer for pushes",
    "redis-pubsub-buffer",
    client_output_buffer_limit="pubsub 65536 0 0",
)
configured("replicas that are missing", "redis-replicas", min_replicas_to_write="2")


@_add("a replica", "redis-replica")
async def _(stage: Stage) -> None:
    admin = await stage.admin()
    admin.execute_command("REPLICAOF", "127.0.0.1", open_port())  # type: ignore[no-untyped-call]  # bare in redis-py


@_add("Redis 6.2", "redis-kind", is_slow=True)
async def _(stage: Stage) -> None:
    with patch.dict(os.environ, {PROGRAM_VARIABLE: str(packaged_server(OLD_REDIS))}):
        await stage.server()


async def _use(stage: Stage, url: str, partitions: int) -> None:
    async with open_rig(url, GivenSettings(partitions=partitions)) as rig:
        await rig.connections.agree_on_partitions(partitions)
    stage.env["TICKERTAPE_PARTITIONS"] = "4"


@_add("another number of partitions, nothing runs", "redis-partitions")
async def _(stage: Stage) -> None:
    await _use(stage, (await stage.server()).url, 1)


@_add("another number of partitions than an API that runs", "redis-partitions")
async def _(stage: Stage) -> None:
    await stage.enter(running_api((await stage.server()).url))
    stage.env["TICKERTAPE_PARTITIONS"] = "4"


@_add("a request that waits, and no worker", "redis-no-worker")
async def _(stage: Stage) -> None:
    async with open_rig((await stage.server()).url) as rig:
        await rig.submit()


@_add("a wrong password", "redis-login")
async def _(stage: Stage) -> None:
    port = (await stage.server()).port
    stage.env["REDIS_URL"] = f"redis://:no@127.0.0.1:{port}/0"


def option(name: str, case: str, query: str, *, scheme: str = "redis") -> None:
    """Add a set-up with an option in REDIS_URL."""

    async def cause(stage: Stage) -> None:
        url = (await stage.server()).url
        stage.env["REDIS_URL"] = f"{url.replace('redis', scheme, 1)}?{query}"

    _add(name, case)(cause)


option("an unknown option in REDIS_URL", "redis-url", "no_such_option=1")
option("a database that is no number", "redis-url", "db=first")
option(
    "a file of an authority that is missing",
    "redis-file",
    "ssl_ca_certs=/nowhere/ca.crt",
    scheme="rediss",
)


@_add("the certificate of another authority", "redis-certificate")
async def _(stage: Stage) -> None:
    if not TLS_PROGRAM.exists():
        pytest.skip("needs the package redis-server, which has TLS")
    ours, others = stage.folder / "ours", stage.folder / "others"
    for folder in (ours, others):
        folder.mkdir()
        make_certificates(folder)
    port = open_port()
    with patch.dict(os.environ, {PROGRAM_VARIABLE: str(TLS_PROGRAM)}):
        server = await stage.server(tls_settings(ours, port))
    account = server.url.partition("//")[2].partition("@")[0]
    url = f"rediss://{account}@localhost:{port}/0?ssl_ca_certs={others / 'ca.crt'}"
    stage.env["REDIS_URL"] = url


@_add("an API without REDIS_URL", "redis-unset", role="api")
async def _(stage: Stage) -> None:
    del stage.env["REDIS_URL"]


_setting("erased texts that stay in the file", "redis-erased", TICKERTAPE_REWRITE_AOF_S="0")
