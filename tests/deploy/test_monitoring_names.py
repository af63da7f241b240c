"""The alert rules and the dashboard name only metrics and labels of real processes."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.monitoring import JOBS, expressions, rules, selected
from tests.faults.ports import free_port
from tests.support.callers import Caller
from tests.support.given_settings import GivenSettings
from tests.support.receiver import write_receivers
from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.tasks import running
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.deliver.main import run

Scraped = Mapping[str, Mapping[str, set[str]]]

# Prometheus adds these itself.
OF_PROMETHEUS: Scraped = {
    "up": {"job": JOBS},
    "ALERTS": {"alertstate": {"firing"}, "alertname": {*rules()}},
}


@pytest.fixture
async def scraped(redis_url: str, upstream: ScriptedUpstream, tmp_path: Path) -> Scraped:
    """The values of each label of each metric, after a call with a wrong key."""
    port, deliver_port = free_port(), free_port()
    handed_on: dict[str, Any] = {
        "webhooks": write_receivers(tmp_path / "webhooks.toml", one="http://127.0.0.1:9"),
        "history_url": f"sqlite:///{tmp_path}/history.db",
    }
    settings = GivenSettings(
        openai_base_url=upstream.base_url, openai_model="m", worker_health_port=port,
        deliver_health_port=deliver_port, **handed_on,
    )  # fmt: skip
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    async with (
        running_api(
            redis_url, api_keys="ada:the-api-key-of-ada", metrics_port=0, **handed_on
        ) as api,
        Caller(api.operators_url) as operator,
        working(redis_url, settings),
        Caller(f"http://127.0.0.1:{port}") as worker,
        running(run(settings, redis_url)),
        Caller(f"http://127.0.0.1:{deliver_port}") as deliver,
    ):
        assert (await api.client.get("/chat/a")).status_code == 401

        async def scrape() -> list[str]:
            processes = (operator, deliver, worker)
            return [(await each.client.get("/metrics")).text for each in processes]

        async def are_complete() -> bool:
            return "tickertape_slots" in (await scrape())[0]

        await wait_until(are_complete, description="the API to see Redis")
        for job, text in zip(sorted(JOBS), await scrape(), strict=True):
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    for label, value in {**sample.labels, "job": job}.items():
                        found[sample.name][label].add(value)
    return {**found, **OF_PROMETHEUS}


def missing(expr: str, scraped: Scraped) -> list[str]:
    """The metrics, labels and values that an expression names and no process has."""
    faults = []
    for name, matchers in selected(expr):
        labels = scraped.get(name)
        if labels is None:
            faults.append(name)
            continue
        for label, values in matchers.items():
            faults += [
                f'{name}{{{label}="{value}"}}'
                for value in values
                if not any(re.fullmatch(value, known) for known in labels.get(label, ()))
            ]
    return faults


async def test_every_expression_names_what_a_scrape_has(scraped: Scraped) -> None:
    found = expressions()
    assert found
    assert {
        where: faults for where, expr in found.items() if (faults := missing(expr, scraped))
    } == {}


async def test_a_name_that_no_scrape_has_is_found(scraped: Scraped) -> None:
    assert missing("rate(tickertape_gone_total[5m])", scraped) == ["tickertape_gone_total"]
    wrong = 'max(tickertape_requests{state="queued"})'
    assert missing(wrong, scraped) == ['tickertape_requests{state="queued"}']
    assert missing('up{job="tickertape"} == 0', scraped) == ['up{job="tickertape"}']
