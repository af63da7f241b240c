"""The limit kept_bytes of TICKERTAPE_TENANT_RULES, and the metrics of what is kept."""

from tests.support.rig import open_rig
from tests.support.running_api import running_api
from tickertape.runtime.settings import Settings

KEYS = "ann:the-key-of-ann-1234,bob:the-key-of-bob-1234"
ANN, BOB = ({"Authorization": f"Bearer the-key-of-{name}-1234"} for name in ("ann", "bob"))


async def test_a_tenant_that_keeps_too_much_is_refused_and_another_one_is_not(
    redis_url: str,
) -> None:
    async with (
        running_api(
            redis_url, api_keys=KEYS, tenant_rules="ann kept_bytes=20000", retention_s=600
        ) as api,
        open_rig(redis_url, Settings(retention_s=600)) as worker,
    ):
        first = await api.client.post("/chat", json={"message": "hi"}, headers=ANN)
        await worker.claim()
        await worker.type("x" * 30_000)
        await worker.finish()
        refused = await api.client.post("/chat", json={"message": "hi"}, headers=ANN)
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert error["code"] == "rate_limit_exceeded"
        assert "kept_bytes (20000)" in error["message"]
        assert 600 <= int(refused.headers["retry-after"]) <= 660
        other = await api.client.post("/chat", json={"message": "hi"}, headers=BOB)
        assert other.status_code == 202

        metrics = (await api.client.get("/metrics", headers=BOB)).text
        assert 'tickertape_submits_total{outcome="kept_bytes"} 1.0' in metrics
        assert 'tickertape_kept_tenants{at_least="1MB"} 0.0' in metrics
        assert "tickertape_kept_bytes 30" in metrics
        assert "ann" not in metrics

        request_id = first.json()["request_id"]
        await api.client.delete(f"/chat/{request_id}", headers=ANN)
        again = await api.client.post("/chat", json={"message": "hi"}, headers=ANN)
        assert again.status_code == 202


async def test_a_request_that_is_larger_than_the_limit_is_not_asked_for_again(
    redis_url: str,
) -> None:
    async with running_api(redis_url, tenant_rules="* kept_bytes=1000") as api:
        refused = await api.client.post("/chat", json={"message": "x" * 2000})
        assert refused.status_code == 429
        assert "retry-after" not in refused.headers
