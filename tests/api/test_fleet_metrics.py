"""The state of the deployment as metrics, for alerts and for scaling."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.api.test_fleet_status import WORKER, queue
from tests.api.test_operations import metric
from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.servers import ValkeyServer
from tickertape.api.fleet_metrics import fleet_text
from tickertape.api.fleet_status import PROBLEMS, status_of, without_redis
from tickertape.api.outbox_metrics import outbox_metrics
from tickertape.broker.fleet import Members, Seen, WorkerReport
from tickertape.broker.outbox import Backlog

DRAINING = Seen(WorkerReport(slots=8, running=3, is_draining=True), 0.5)
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "metrics.md"
NAMED = re.compile(r"^\| `(tickertape_\w+)`", re.MULTILINE)
ROW = re.compile(r"^\| `(tickertape_\w+)` \| (\w+) \| (.*) \|$", re.MULTILINE)
FAMILY = re.compile(r"^# TYPE (tickertape_\w+) ", re.MULTILINE)


def families(text: str) -> set[str]:
    """The names of Tickertape's metrics, without the times at which their series began."""
    return {name for name in FAMILY.findall(text) if not name.endswith("_created")}


def misdescribed(document: str, scrape: str) -> list[str]:
    """The rows of a document whose kind is another one, or that leave a label out."""
    found = {family.name: family for family in text_string_to_metric_families(scrape)}
    faults = []
    for name, kind, words in ROW.findall(document):
        family = found[name.removesuffix("_total")]
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        if kind != family.type:
            faults.append(f"{name} is a {family.type}")
        faults += [f"{name} has a {label}" for label in labels if f"`{label}" not in words]
    return faults


def value(text: bytes, sample: str) -> float:
    (line,) = [line for line in text.decode().splitlines() if line.startswith(f"{sample} ")]
    return float(line.rpartition(" ")[2])


def test_the_queue_and_the_free_slots_are_gauges() -> None:
    depth = queue(waiting=5, running=2, delayed=1, held=4, dead=3, oldest_s=7.5)
    text = fleet_text(status_of(Members([WORKER, DRAINING]), depth, None, 2.0))
    for state, number in {"waiting": 5, "running": 2, "delayed": 1, "held": 4, "dead": 3}.items():
        assert value(text, f'tickertape_requests{{state="{state}"}}') == number
    assert value(text, "tickertape_oldest_wait_seconds") == 7.5
    # A worker that drains takes nothing, however many slots it has.
    assert value(text, 'tickertape_slots{state="free"}') == 6
    assert value(text, 'tickertape_workers{state="claiming"}') == 1
    assert value(text, 'tickertape_workers{state="draining"}') == 1
    assert value(text, "tickertape_redis_reply_seconds") == 0.002


def test_every_problem_has_a_series_and_those_that_are_there_are_1() -> None:
    text = fleet_text(status_of(Members(), queue(claimed_s=900), None, 1.0))
    found = {code: value(text, f'tickertape_problem{{code="{code}"}}') for code in PROBLEMS}
    assert found == {code: float(code == "no_worker") for code in PROBLEMS}


def test_without_redis_there_is_no_number_of_an_earlier_time() -> None:
    text = fleet_text(without_redis("Redis does not answer."))
    assert value(text, 'tickertape_problem{code="redis_unavailable"}') == 1
    assert families(text.decode()) == {"tickertape_problem"}


async def test_a_scrape_shows_what_waits(api: RunningApi, worker: Rig) -> None:
    await worker.begin()
    await api.submit()
    assert await metric(api, 'tickertape_requests{state="waiting"}') == 1
    assert await metric(api, 'tickertape_requests{state="running"}') == 1


async def test_a_scrape_is_answered_while_redis_is_away(own_redis: ValkeyServer) -> None:
    async with running_api(own_redis.url) as api:
        own_redis.stop()
        assert await metric(api, 'tickertape_problem{code="redis_unavailable"}') == 1
        assert await metric(api, "tickertape_subscribers") == 0


async def test_the_document_names_the_metrics_of_an_api_and_no_others(api: RunningApi) -> None:
    text = (await api.client.get("/metrics")).text
    text += outbox_metrics({"webhooks": Backlog(0, 0, 0, 0, 0, 0, None)}).decode()
    of_api = DOCUMENT.read_text("utf-8").partition("## A worker")[0]
    assert {*NAMED.findall(of_api)} == families(text)
    assert misdescribed(of_api, text) == []
