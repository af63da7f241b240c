"""Limits of rates over HTTP: OpenAI's headers, a true Retry-After, and each tenant by itself."""

import json

import pytest

from tests.support.raw import call, exchange
from tests.support.running_api import running_api
from tickertape.api.edge.tenant_rules import TenantRulebook
from tickertape.api.rates import duration
from tickertape.broker.errors import SettingsInvalid

RULES = "t requests_per_minute=2 tokens_per_minute=100000 weight=2, u requests_per_minute=60"
KEYS = "t:a-key-of-tenant-t,u:a-key-of-tenant-u"
HI = {"message": "hi"}


def of(tenant: str) -> dict[str, str]:
    return {"Authorization": f"Bearer a-key-of-tenant-{tenant}"}


async def test_each_answer_shows_what_is_left_and_a_refusal_names_the_limit(
    redis_url: str,
) -> None:
    async with running_api(redis_url, api_keys=KEYS, tenant_rules=RULES) as api:
        left = 0
        for remaining in (1, 0):
            answer = await api.client.post("/chat", json=HI, headers=of("t"))
            assert answer.status_code == 202
            assert answer.headers["x-ratelimit-limit-requests"] == "2"
            assert answer.headers["x-ratelimit-remaining-requests"] == str(remaining)
            assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
            assert answer.headers["x-ratelimit-limit-tokens"] == "100000"
            left = int(answer.headers["x-ratelimit-remaining-tokens"])
        refused = await api.client.post("/chat", json=HI, headers=of("t"))
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert "requests_per_minute" in refused.json()["error"]["message"]
        assert 25 < int(refused.headers["Retry-After"]) <= 30
        assert refused.headers["x-ratelimit-limit-requests"] == "2"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert left <= int(refused.headers["x-ratelimit-remaining-tokens"]) <= 100_000
        other = await api.client.post("/chat", json=HI, headers=of("u"))
        assert other.status_code == 202


@pytest.mark.parametrize("partitions", [1, 4])
async def test_a_limit_is_exact_over_all_partitions(redis_url: str, partitions: int) -> None:
    rules = "* requests_per_minute=5"
    async with running_api(redis_url, partitions=partitions, tenant_rules=rules) as api:
        answers = [await api.client.post("/chat", json=HI) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429] * 3


async def test_a_tenant_may_have_fewer_requests_at_a_time_than_others(redis_url: str) -> None:
    async with running_api(redis_url, tenant_rules="* concurrent=2") as api:
        answers = [await api.client.post("/chat", json=HI) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]


@pytest.mark.parametrize(
    ("ms", "text"),
    [(120, "120ms"), (1500, "1.5s"), (360_000, "6m0s"), (3_600_000, "1h0m0s")],
)
def test_a_time_is_written_as_openai_writes_it(ms: int, text: str) -> None:
    assert duration(ms) == text


async def test_a_call_shows_nothing_of_the_call_before_it_on_the_connection(redis_url: str) -> None:
    rules = "* requests_per_minute=60"
    good = call("POST", "/chat", body=json.dumps(HI).encode())
    bad = call("POST", "/chat", "Connection: close", body=b"{}")
    async with running_api(redis_url, tenant_rules=rules) as api:
        answers = await exchange(api.url, good + bad)
    first, second = answers.split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3]) == (b"202", b"400")
    assert b"x-ratelimit" in first.lower()
    assert b"x-ratelimit" not in second.lower()


MONEY = "* spend_per_day=0.05"
PRICES = "dear=10/100, *=0.1/0.2"


async def test_what_a_tenant_may_spend_is_reserved_by_the_price_of_its_model(
    redis_url: str,
) -> None:
    async with running_api(redis_url, tenant_rules=MONEY, prices=PRICES) as api:
        asked = {**HI, "model": "dear", "max_tokens": 200}
        answers = [await api.client.post("/chat", json=asked) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert "spend_per_day (0.05)" in answers[2].json()["error"]["message"]
        assert int(answers[2].headers["Retry-After"]) > 60
        # A request to another model costs so little that there is room for it.
        cheap = await api.client.post("/chat", json={**asked, "model": "cheap"})
        assert cheap.status_code == 202
        assert "x-ratelimit-limit-tokens" not in cheap.headers


async def test_a_model_without_a_price_is_not_used_on_credit(redis_url: str) -> None:
    rules = "t spend_per_month=5"
    async with running_api(redis_url, api_keys=KEYS, tenant_rules=rules, prices="known=1/2") as api:
        asked = {**HI, "model": "other"}
        for tenant, status in (("t", 403), ("u", 202)):
            answer = await api.client.post("/chat", json=asked, headers=of(tenant))
            assert answer.status_code == status


@pytest.mark.parametrize("prices", ["m", "m=1", "m=1/x", "=1/2", "m=-1/2", "m=nan/1"])
def test_prices_that_cannot_be_read_stop_the_start(prices: str) -> None:
    with pytest.raises(SettingsInvalid, match="TICKERTAPE_PRICES"):
        TenantRulebook(None, prices)


def test_a_limit_of_money_without_prices_stops_the_start() -> None:
    with pytest.raises(SettingsInvalid, match="TICKERTAPE_PRICES"):
        TenantRulebook("ada spend_per_day=1")
