"""API keys and tickets of two systems in one cluster: each knows its own ones only."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from tests.support.cluster import Cluster
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until
from tickertape.api.services import ApiTiming
from tickertape.broker.partition_tags import slot_of
from tickertape.cli.inspect.keys import NewKey, run
from tickertape.runtime import api_key

pytestmark = pytest.mark.slow

FAST = ApiTiming(access_interval_s=0.05)


class Operator:
    """Runs `tickertape keys` for one system, as a process with these settings does."""

    def __init__(
        self,
        cluster: Cluster,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("REDIS_URL", cluster.url)
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    async def keys(self, namespace: str, action: str, subject: str | None = None) -> str:
        """What the command prints."""
        self._monkeypatch.setenv("TICKERTAPE_NAMESPACE", namespace)
        self._capsys.readouterr()
        await asyncio.to_thread(run, action, subject, NewKey(), data_dir=Path())
        return self._capsys.readouterr().out.strip()


@pytest.fixture
def operator(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Operator:
    return Operator(cluster, monkeypatch, capsys)


def by(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def answers(api: RunningApi, key: str, status: int) -> None:
    """Wait until a call with the key is answered so."""

    async def does() -> bool:
        return (await api.client.get("/chat", headers=by(key))).status_code == status

    await wait_until(does, description=f"the answer {status}")


async def test_keys_and_tickets_of_a_namespace_in_a_cluster_are_made_used_and_revoked(
    cluster: Cluster, operator: Operator
) -> None:
    async with (
        running_api(cluster.url, namespace="ours", require_keys=True, timing=FAST) as ours,
        running_api(cluster.url, namespace="theirs", require_keys=True, timing=FAST) as theirs,
    ):
        key = await operator.keys("ours", "add", "ada")
        other = await operator.keys("theirs", "add", "ada")
        assert api_key.is_key(key)
        await answers(ours, key, 200)
        await answers(theirs, other, 200)
        await answers(theirs, key, 401)
        await answers(ours, other, 401)

        made = await ours.client.post("/chat", json={"message": "hi"}, headers=by(key))
        path = f"/chat/{made.json()['request_id']}"
        issued = await ours.client.post(f"{path}/ticket", json={"rights": "read"}, headers=by(key))
        ticket = issued.json()["ticket"]

        async def is_used() -> bool:
            return "last used" in await operator.keys("ours", "list")

        await wait_until(is_used, description="the last use of the key is listed")
        key_id = (await operator.keys("ours", "list")).split()[0]
        assert key_id not in await operator.keys("theirs", "list")

        async with ours.client.stream("GET", f"{path}/stream?ticket={ticket}") as stream:
            assert stream.status_code == 200
            assert "revoked" in await operator.keys("ours", "revoke", key_id)
            with pytest.raises(httpx2.TransportError):
                await stream.aread()
        await answers(ours, key, 401)
        await answers(theirs, other, 200)
        assert await operator.keys("ours", "list") == "No keys."


async def test_keys_are_made_and_accepted_after_the_master_that_keeps_them_handed_over(
    cluster: Cluster, operator: Operator
) -> None:
    async with running_api(cluster.url, namespace="ours", require_keys=True, timing=FAST) as api:
        key = await operator.keys("ours", "add", "ada")
        await answers(api, key, 200)
        slot = slot_of(api.services.connections.keys.tag_text(0))
        cluster.promote_replica_of(slot)
        fresh = await operator.keys("ours", "add", "bob")
        await answers(api, fresh, 200)
        await answers(api, key, 200)
