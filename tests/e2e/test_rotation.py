"""Every secret of a running deployment is replaced in its file, with several processes."""

import asyncio
import re
from pathlib import Path

import pytest
import redis

from tests.support.callers import Caller
from tests.support.deployment import MakeDeployment
from tests.support.followers import following
from tests.support.programs import Program
from tests.support.script import Finish, Role, Text, Wait
from tests.support.servers import ValkeyServer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

NEW = "the-new-secret-of-all"
KEY = "the-key-of-ada-01"


def write(folder: Path, **secrets: str) -> None:
    for name, secret in secrets.items():
        (folder / name).write_text(f"{secret}\n", "utf-8")


async def has_replaced(program: Program, variables: set[str], processes: int = 1) -> None:
    """Wait until each process of a program uses these new secrets."""
    await wait_until(
        lambda: all(
            len(program.records("a secret was replaced", variable=name)) == processes
            for name in variables
        ),
        timeout_s=20,
        description=f"{program.name} uses {variables}",
    )
    assert NEW not in program.printed


async def test_every_secret_is_replaced_under_an_open_stream(
    make_deployment: MakeDeployment,
    own_redis: ValkeyServer,
    upstream: ScriptedUpstream,
    tmp_path: Path,
) -> None:
    url = own_redis.url
    write(
        tmp_path,
        REDIS_URL=url,
        OPENAI_API_KEY="sk-old-0123456789",
        TICKERTAPE_API_KEYS=f"ada:{KEY}",
    )
    write(tmp_path, TICKERTAPE_KEY_SECRET="k" * 16, TICKERTAPE_TICKET_SECRET="t" * 16)
    names = [
        "REDIS_URL", "OPENAI_API_KEY", "TICKERTAPE_API_KEYS", "TICKERTAPE_KEY_SECRET",
        "TICKERTAPE_TICKET_SECRET",
    ]  # fmt: skip
    files = {f"{name}_FILE": str(tmp_path / name) for name in names}
    deployment = make_deployment(**files, REDIS_URL="", OPENAI_API_KEY="")
    upstream.accept_keys("sk-old-0123456789", NEW)
    gate = asyncio.Event()
    upstream.enqueue([Role(), Text("a"), Wait(gate), Text("b"), Finish()])
    worker = await deployment.running_worker()
    api, api_url = await deployment.running_api(processes=2)
    async with Caller(api_url, KEY) as caller:
        request_id = await caller.submit()
        async with following(caller.stream_url(request_id), caller.headers) as reader:
            await reader.shows("a")
            with redis.Redis.from_url(url) as admin:
                old = re.search(r":([^:@]*)@", url)
                assert old is not None
                admin.acl_setuser("default", enabled=True, passwords=[f"+{NEW}"])
                write(tmp_path, REDIS_URL=url.replace(old[0], f":{NEW}@"), OPENAI_API_KEY=NEW)
                write(tmp_path, TICKERTAPE_API_KEYS=f"ada:{KEY}\nada:{NEW}")
                write(tmp_path, TICKERTAPE_KEY_SECRET=f"{NEW}\n{'k' * 16}")
                write(tmp_path, TICKERTAPE_TICKET_SECRET=f"{NEW}\n{'t' * 16}")
                await has_replaced(worker, {"REDIS_URL", "OPENAI_API_KEY"})
                of_api = {"REDIS_URL", "TICKERTAPE_KEY_SECRET", "TICKERTAPE_TICKET_SECRET"}
                await has_replaced(api, of_api, processes=2)
                admin.acl_setuser("default", enabled=True, passwords=[f"-{old[1]}"])
                admin.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
                admin.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
            upstream.accept_keys(NEW)
            gate.set()
            await reader.ends()
            assert (reader.text, reader.kinds) == ("ab", ["queued", "started", "completed"])
    async with Caller(api_url, NEW) as caller:
        request_id = await caller.submit()
        async with following(caller.stream_url(request_id), caller.headers) as reader:
            await reader.ends()
            assert reader.text == "Hello, world."
