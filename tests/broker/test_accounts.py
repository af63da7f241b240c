"""The two accounts of docs/redis.md: they suffice, and nothing but Tickertape is open to them."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from tests.support.accounts import ASKED
from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.script import answer
from tests.support.servers import ValkeyServer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.connections import Connections
from tickertape.broker.rights import Rights
from tickertape.runtime.settings import Settings
from tickertape.worker.assembly import WorkerTiming

DOCUMENT = Path("docs/redis.md").read_text("utf-8")
ACCOUNTS = dict(
    re.findall(r"^ACL SETUSER (tickertape-\w+) on >PASSWORD (.+)$", DOCUMENT, re.MULTILINE)
)

_LATER = "+client|setinfo"


@contextlib.contextmanager
def documented(redis_url: str, name: str) -> Iterator[str]:
    """The URL of a documented account, which exists until the end of the block."""
    port = urlsplit(redis_url).port
    with Redis.from_url(redis_url) as admin:
        rules = [rule for rule in ACCOUNTS[name].split() if not is_unknown(admin, rule)]
        admin.execute_command("ACL", "SETUSER", name, "on", ">sesame", *rules)
        try:
            yield f"redis://{name}:sesame@127.0.0.1:{port}/0"
        finally:
            admin.execute_command("ACL", "DELUSER", name)


def is_unknown(admin: Redis, rule: str) -> bool:
    """Whether the rule is the one that docs/redis.md leaves out on this server."""
    # One word, because redis-py cannot read its own COMMAND if a command is unknown.
    known: object = admin.execute_command("COMMAND INFO", _LATER[1:])  # type: ignore[no-untyped-call]  # bare in redis-py
    return rule == _LATER and known == [None]


@pytest.mark.parametrize("name", ACCOUNTS)
async def test_a_documented_account_misses_nothing(redis_url: str, name: str) -> None:
    with documented(redis_url, name) as url:
        connections = Connections(url, partitions=12)
        assert await Rights(connections).missing() == []
        await connections.aclose()


@pytest.mark.parametrize("name", ACCOUNTS)
def test_a_documented_account_has_no_command_that_is_not_used(name: str) -> None:
    """Change the lines in docs/redis.md together with the rights in broker/scripts."""
    given = {rule[1:].upper() for rule in ACCOUNTS[name].split() if rule.startswith("+")}
    others = {"SCRIPT|LOAD", "COMMAND|INFO", "HELLO", "INFO", "SELECT", "CLIENT|SETINFO"}
    assert given - {"BGREWRITEAOF"} == {*ASKED, *others}
    assert "BGREWRITEAOF" not in given or name == "tickertape-worker"


@pytest.mark.parametrize("name", ACCOUNTS)
def test_the_documented_accounts_can_do_nothing_else(redis_url: str, name: str) -> None:
    with documented(redis_url, name) as url, Redis.from_url(url) as client:
        for command in (
            ("CONFIG", "GET", "*"), ("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("SCAN", "0"),
            ("SAVE",), ("SHUTDOWN",), ("ACL", "LIST"), ("MONITOR",),
            ("REPLICAOF", "h", "1"), ("MODULE", "LIST"), ("EVAL", "return 1", "0"),
            ("CLIENT", "LIST"), ("GET", "another"), ("SET", "another", "1"),
            ("GET", "{other}:key"), ("SPUBLISH", "another", "x"), ("SSUBSCRIBE", "{p0}:other"),
            ("SUBSCRIBE", "another"), ("COPY", "{p0}:a", "{p0}:b"), ("DUMP", "{p0}:a"),
        ):  # fmt: skip
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)


async def test_the_documented_accounts_serve_an_api_and_a_worker(
    own_redis: ValkeyServer, upstream: ScriptedUpstream
) -> None:
    upstream.script = answer("Hello.")
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m", "rewrite_aof_s": 0.05}
    settings = Settings.model_validate(fields)
    url = own_redis.url
    with (
        documented(url, "tickertape-api") as api_url,
        documented(url, "tickertape-worker") as worker_url,
    ):
        async with (
            running_api(api_url) as api,
            working(worker_url, settings, timing=WorkerTiming(erasure_look_s=0.05)),
        ):
            request_id = ""
            for number in range(2):
                body = {"message": "hi", "conversation_id": "c"}
                key = {"Idempotency-Key": str(number)}
                submitted = await api.client.post("/chat", json=body, headers=key)
                request_id = submitted.json()["request_id"]
                stream = await api.client.get(f"/chat/{request_id}/stream")
                assert "completed" in stream.text
            for path in ("/chat", "/conversations", "/conversations/c", "/status.json", "/metrics"):
                assert (await api.client.get(path)).status_code == 200, path
            assert (await api.client.delete(f"/chat/{request_id}")).status_code == 204
            assert (await api.client.delete("/conversations/c")).status_code == 204
            await api.cancel(await api.submit())
            assert await api.is_ready()

            def is_rewritten() -> bool:
                with Redis.from_url(url) as admin:
                    counts = admin.hgetall("{p0}:erasures")
                return bool(counts[b"count"] == counts.get(b"rewritten"))

            await wait_until(is_rewritten, description="the worker has the file rewritten")
        assert api.problems == []
