"""The secrets of keys and of tickets are replaced while API processes run and streams are open."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.followers import following
from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.stored_keys import add_key
from tests.support.wait import wait_until
from tickertape.api.services import ApiTiming
from tickertape.runtime import api_key
from tickertape.runtime.secret_files import SecretFile
from tickertape.runtime.signing_secrets import secrets_in

OLD, NEW = "the-secret-of-spring", "the-secret-of-summer"
FAST = ApiTiming(access_interval_s=0.02, secret_look_s=0.02)


@asynccontextmanager
async def apis(redis_url: str, path: Path, setting: str) -> AsyncIterator[list[RunningApi]]:
    """Two processes with a secret in one file."""
    path.write_text(f"{OLD}\n", "utf-8")
    files = {f"TICKERTAPE_{setting.upper()}": SecretFile(path, OLD)}
    given: dict[str, Any] = {"require_keys": True, setting: OLD}
    async with (
        running_api(redis_url, timing=FAST, files=files, **given) as one,
        running_api(redis_url, timing=FAST, files=files, **given) as two,
    ):
        yield [one, two]


async def write(path: Path, *lines: str) -> None:
    """Write secrets into the file, and wait until both processes use them."""
    with capture_logs() as logged:
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        await wait_until(
            lambda: [line["event"] for line in logged].count("a secret was replaced") == 2,
            description="both processes use the secrets",
        )
    assert OLD not in str(logged)
    assert NEW not in str(logged)


async def gets(api: RunningApi, credential: str, path: str = "/chat") -> int:
    return (await api.client.get(path, headers={"Authorization": credential})).status_code


async def test_the_secret_of_keys_is_replaced_and_every_key_that_is_used_moves_to_the_new_one(
    redis_url: str, tmp_path: Path, worker: Rig
) -> None:
    path = tmp_path / "secret"
    async with apis(redis_url, path, "key_secret") as (one, two):
        access = one.services.access
        used = f"Bearer {await add_key(access, 'ada', '1', secret=OLD)}"
        unused = f"Bearer {await add_key(access, 'ada', '2', secret=OLD)}"
        await wait_until(lambda: accepts(one, used), description="the key is accepted")
        posted = await one.client.post(
            "/chat", json={"message": "hi"}, headers={"Authorization": used}
        )
        stream = f"{two.url}/chat/{posted.json()['request_id']}/stream"
        async with following(stream, headers={"Authorization": used}) as reader:
            await wait_until(lambda: reader.kinds, description="the stream is open")
            await write(path, OLD, NEW)
            await write(path, NEW, OLD)
            for api in (one, two):
                assert await gets(api, used) == 200
            await wait_until(
                lambda: is_kept_under(one, used, NEW), description="the used key has moved"
            )
            assert not await is_kept_under(one, used, OLD)
            await write(path, NEW)
            for api in (one, two):
                assert (await gets(api, used), await gets(api, unused)) == (200, 401)
            later = f"Bearer {await add_key(access, 'ada', '3', secret=NEW)}"
            await wait_until(lambda: accepts(two, later), description="a new key is accepted")
            await worker.claim()
            await worker.finish("x")
            await reader.ends()
            assert reader.kinds[-1] == "completed"
        # The id of the key is the same, and so is its end.
        assert await access.revoke("1")
        await wait_until(lambda: refuses(two, used), description="the key is revoked")


async def accepts(api: RunningApi, credential: str) -> bool:
    return await gets(api, credential) == 200


async def refuses(api: RunningApi, credential: str) -> bool:
    return await gets(api, credential) == 401


async def is_kept_under(api: RunningApi, credential: str, secret: str) -> bool:
    """Whether Redis keeps a key as its hash with this secret of the server."""
    digest = api_key.digest(credential.removeprefix("Bearer "), secret)
    connections = api.services.connections
    return bool(await connections.ask("HEXISTS", connections.keys.api_keys(), digest))


async def test_the_secret_of_tickets_is_replaced_and_no_ticket_ends_before_its_time(
    redis_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    async with apis(redis_url, path, "ticket_secret") as (one, two):
        key = f"Bearer {await add_key(one.services.access, 'ada')}"
        await wait_until(lambda: accepts(one, key), description="the key is accepted")
        posted = await one.client.post(
            "/chat", json={"message": "hi"}, headers={"Authorization": key}
        )
        request = f"/chat/{posted.json()['request_id']}"

        async def ticket() -> str:
            issued = await one.client.post(
                f"{request}/ticket", json={"rights": "read"}, headers={"Authorization": key}
            )
            return f"Ticket {issued.json()['ticket']}"

        first = await ticket()
        await write(path, OLD, NEW)
        await write(path, NEW, OLD)
        second = await ticket()
        for api in (one, two):
            assert [await gets(api, text, request) for text in (first, second)] == [200, 200]
        await write(path, NEW)
        for api in (one, two):
            assert [await gets(api, text, request) for text in (first, second)] == [401, 200]


async def test_a_line_that_is_too_short_keeps_the_secrets(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    async with apis(redis_url, path, "key_secret") as (one, _):
        key = f"Bearer {await add_key(one.services.access, 'ada', secret=OLD)}"
        await wait_until(lambda: accepts(one, key), description="the key is accepted")
        with capture_logs() as logged:
            path.write_text("short\n", "utf-8")
            await wait_until(lambda: len(logged) >= 2, description="both processes refuse")
        assert {line["event"] for line in logged} == {"a secret was not replaced"}
        assert "short" not in str(logged)
        assert await gets(one, key) == 200


def test_secrets_are_lines_of_at_least_sixteen_characters() -> None:
    assert secrets_in(f"\n {NEW} \n\n{OLD}") == (NEW, OLD)
    for wrong in ("", "\n", "too-short", f"{NEW}\nshort", "\n".join([NEW] * 5)):
        with pytest.raises(ValueError, match="secret") as caught:
            secrets_in(wrong)
        assert NEW not in str(caught.value)
