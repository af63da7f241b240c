"""Each alert of docs/deploy/monitoring/ fires by its numbers only, and the runbook has it."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.deploy.monitoring import FOLDER, JOBS, RUNBOOK, promtool, rules

Series = Mapping[str, str]

_SECTION = re.compile(r"^### (Tickertape\w+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)

API, WORKER = 'job="tickertape-api",instance="api"', 'job="tickertape-worker",instance="worker"'
UP_API, UP_WORKER = f"up{{{API}}}", f"up{{{WORKER}}}"
PROBLEMS = ("no_worker", "long_wait", "upstream", "redis_slow", "redis_unavailable")
DELIVER = 'job="tickertape-deliver",instance="deliver"'
END = 36  # samples, of which there is one each minute


def problem(code: str) -> str:
    return f'tickertape_problem{{{API},code="{code}"}}'


def requests(state: str) -> str:
    return f'tickertape_requests{{{API},state="{state}"}}'


def submits(outcome: str) -> str:
    return f'tickertape_submits_total{{{API},outcome="{outcome}"}}'


def ended(state: str, code: str = "") -> str:
    return f'tickertape_worker_ended_total{{{WORKER},state="{state}",code="{code}"}}'


def refused(reason: str) -> str:
    return f'tickertape_authentication_failures_total{{{API},reason="{reason}"}}'


def bucket(name: str, of: str, upper: str) -> str:
    return f'tickertape_{name}_seconds_bucket{{{of},le="{upper}"}}'


def cut(reason: str) -> str:
    return f'tickertape_edge_refusals_total{{{API},reason="{reason}"}}'


def outbox(name: str, consumer: str, more: str = "") -> str:
    return f'tickertape_outbox{name}{{{API},consumer="{consumer}"{more}}}'


GIVEN_UP = outbox("", "webhooks", ',state="given_up"')
LOST = outbox("_lost_total", "history")
OLDEST = {consumer: outbox("_oldest_seconds", consumer) for consumer in ("webhooks", "history")}
FAILED, REJECTED = ended("failed", "upstream_error"), ended("failed", "upstream_rejected")
WRITES = f'tickertape_condition{{{API},code="writes_refused"}}'
FULL = f'tickertape_condition{{{API},code="memory_full"}}'
SECRET = f'tickertape_condition{{{WORKER},code="secret_refused"}}'
RIGHTS = f'tickertape_condition{{{WORKER},code="rights"}}'
PUSH = f"tickertape_push_up{{{API}}}"
POOL_WAITS = f'tickertape_pool_waiting{{{API},pool="agent"}}'
POOL_WORKERS = f'tickertape_pool_workers{{{API},pool="agent"}}'
WAIT = f"tickertape_oldest_wait_seconds{{{API}}}"
LAG = "event_loop_lag", WORKER
FIRST = "submit_to_first_token", WORKER
LIMITS = ("0.1", "0.25", "1.0", "10.0", "30.0", "+Inf")
PROCESSES = f"tickertape_api_processes{{{API}}}"
WORKER_PROCESSES = f"tickertape_worker_processes{{{WORKER}}}"
CLAIMING = f"tickertape_worker_claiming{{{WORKER}}}"
DRAINING = f"tickertape_worker_draining{{{WORKER}}}"
AWAY = f'tickertape_condition{{{DELIVER},code="history_away"}}'
FAILING = f"tickertape_webhook_receivers_failing{{{DELIVER}}}"
TAKEOVERS = f"tickertape_worker_takeovers_total{{{WORKER}}}"

HEALTHY: Series = {
    UP_API: f"1x{END}", UP_WORKER: f"1x{END}",
    **{problem(code): f"0x{END}" for code in PROBLEMS},
    WRITES: f"0x{END}", FULL: f"0x{END}", RIGHTS: f"0x{END}", PUSH: f"1x{END}", WAIT: f"2x{END}",
    POOL_WAITS: f"0x{END}", POOL_WORKERS: f"1x{END}",
    SECRET: f"0x{END}", AWAY: f"0x{END}", FAILING: f"0x{END}", GIVEN_UP: f"0x{END}",
    LOST: f"0x{END}", **dict.fromkeys(OLDEST.values(), f"0x{END}"),
    PROCESSES: f"4x{END}", WORKER_PROCESSES: f"4x{END}", CLAIMING: f"1x{END}", DRAINING: f"0x{END}",
    TAKEOVERS: f"0x{END}", requests("dead"): f"0x{END}", requests("waiting"): f"3x{END}",
    submits("accepted"): f"0+120x{END}", submits("unavailable"): f"0x{END}",
    submits("queue_full"): f"0x{END}", submits("tenant_limit"): f"0x{END}",
    ended("completed"): f"0+120x{END}", FAILED: f"0x{END}", REJECTED: f"0x{END}",
    refused("invalid_api_key"): f"0x{END}", refused("no_key"): f"0x{END}",
    cut("too_many_connections"): f"0x{END}",
    **{bucket(*LAG, upper): f"0+1200x{END}" for upper in LIMITS},
    **{bucket(*FIRST, upper): f"0+120x{END}" for upper in LIMITS},
}  # fmt: skip
NEVER = f"_x{END}"
# From the sixth minute on.
SOON = f"0x4 1x{END}"
GONE_SOON = f"1x4 0x{END}"

# The metrics of each fault, and the minutes at which nothing fires yet and at which its alert does.
FAULTS: dict[str, tuple[Series, int, int]] = {
    "TickertapeApiDown": ({each: NEVER for each in HEALTHY if API in each}, 0, 1),
    "TickertapeRedisUnavailable": ({problem("redis_unavailable"): SOON, PUSH: GONE_SOON}, 5, 6),
    "TickertapeRedisRefusesWrites": ({WRITES: SOON}, 5, 6),
    "TickertapePushDown": ({PUSH: GONE_SOON}, 6, 7),
    "TickertapeNoWorker": ({problem("no_worker"): SOON, WAIT: f"0+60x{END}"}, 5, 20),
    "TickertapeFunctionWithoutWorker": ({POOL_WAITS: SOON, POOL_WORKERS: GONE_SOON}, 6, 7),
    "TickertapeUpstreamRefuses": (
        {problem("upstream"): SOON, FAILED: f"0x5 30x{END}"}, 6, 9,
    ),
    "TickertapeSubmitsFail": ({submits("unavailable"): f"0x5 0+12x{END}"}, 5, 12),
    "TickertapeRequestsFail": ({FAILED: f"0x5 0+24x{END}"}, 5, 12),
    "TickertapeLongWait": ({WAIT: f"0x4 40x{END}"}, 6, 7),
    "TickertapeOutboxFull": ({LOST: f"0x4 1+1x{END}"}, 4, 5),
    "TickertapeProcessDown": ({UP_WORKER: GONE_SOON}, 14, 15),
    "TickertapeWorkersCrash": ({TAKEOVERS: f"0x5 4x{END}"}, 5, 6),
    "TickertapeDeadRequests": ({requests("dead"): SOON}, 4, 5),
    "TickertapeSlowFirstToken": (
        {bucket(*FIRST, upper): f"0x{END}" for upper in LIMITS[:4]}, 10, 12,
    ),
    "TickertapeLoopLag": ({bucket(*LAG, upper): f"0+1180x{END}" for upper in LIMITS[:2]}, 4, 8),
    "TickertapeRedisSlow": ({problem("redis_slow"): SOON}, 9, 10),
    "TickertapeSecretRefused": ({SECRET: SOON}, 9, 10),
    "TickertapeKeysRefused": ({refused("invalid_api_key"): f"0x5 0+200x{END}"}, 5, 7),
    "TickertapeEdgeRefuses": ({cut("too_many_connections"): f"0x5 0+200x{END}"}, 5, 7),
    "TickertapeHistoryAway": ({AWAY: SOON, OLDEST["history"]: f"0x4 60+60x{END}"}, 9, 10),
    "TickertapeOutboxWaits": ({OLDEST["webhooks"]: f"0x4 61+60x{END}"}, 9, 10),
    "TickertapeReceiverFails": ({FAILING: SOON}, 19, 20),
    "TickertapeWebhooksGivenUp": ({GIVEN_UP: SOON}, 4, 5),
}  # fmt: skip
# Other metrics of a fault, and the minute at which its alert fires.
MORE_FAULTS: dict[str, tuple[str, Series, int]] = {
    "a model that nobody has": ("TickertapeRequestsFail", {REJECTED: f"0x5 0+240x{END}"}, 12),
    "a full queue": ("TickertapeSubmitsFail", {submits("queue_full"): f"0x5 0+12x{END}"}, 12),
    "a full memory": ("TickertapeRedisRefusesWrites", {FULL: SOON}, 6),
    "a worker without rights": ("TickertapeProcessDown", {RIGHTS: SOON}, 15),
    "a worker whose loop hangs": ("TickertapeProcessDown", {CLAIMING: GONE_SOON}, 15),
    "one of four processes hangs": ("TickertapeProcessDown", {PROCESSES: f"4x4 3x{END}"}, 15),
    "one of four processes of a worker hangs": (
        "TickertapeProcessDown",
        {WORKER_PROCESSES: f"4x4 3x{END}"},
        15,
    ),
    "workers that nobody scrapes": ("TickertapeProcessDown", {UP_WORKER: NEVER}, 11),
}
OTHER_API = 'up{job="tickertape-api",instance="other"}'
# What happens in a healthy deployment.
HARMLESS: dict[str, Series] = {
    "a restart with its drain": {
        UP_API: f"1x15 0x5 1x{END}", OTHER_API: f"1x{END}", UP_WORKER: f"1x25 0x5 1x{END}",
    },
    "a secret that comes before Redis knows it": {SECRET: f"0x15 1x2 0x{END}"},
    "a worker that drains": {CLAIMING: GONE_SOON, DRAINING: SOON},
    "a fail-over of Redis": {
        problem("redis_unavailable"): f"0x15 1 0x{END}", WRITES: f"0x15 1 0x{END}",
        PUSH: f"1x15 0 1x{END}",
    },
    "a receiver that restarts": {FAILING: f"0x15 1x9 0x{END}"},
    "a database that restarts": {
        AWAY: f"0x15 1 1 0x{END}", OLDEST["history"]: f"0x15 60 120 0x{END}",
    },
    "a burst that waits": {WAIT: f"0x15 40 40 0x{END}"},
    "a few failures of many": {FAILED: f"0+12x{END}"},
    "a few failures at night": {
        ended("completed"): f"0x{END}", FAILED: f"0x15 4x{END}",
    },
    "a caller whose requests are rejected": {REJECTED: f"0+60x{END}"},
    "a loop that is late once": {
        bucket(*LAG, upper): f"0+1200x15 19195+1200x{END}" for upper in LIMITS[:2]
    },
    "a tenant at its own limit": {submits("tenant_limit"): f"0+360x{END}"},
    "one worker that was killed": {TAKEOVERS: f"0x15 2x{END}"},
    "a wrong key in a script": {refused("invalid_api_key"): f"0+4x{END}"},
    "a scanner without a key": {refused("no_key"): f"0+90x{END}"},
    "browsers that offer an upgrade": {cut("upgrade_ignored"): f"0+360x{END}"},
    "processes that are added": {PROCESSES: f"2x15 4x{END}"},
}  # fmt: skip


def case(series: Series, *times: tuple[int, list[str]], ever: bool = False) -> dict[str, object]:
    """A test of promtool: exactly these alerts fire at these minutes, or have `ever` fired."""
    fired = 'last_over_time(ALERTS{alertstate="firing"}[1h])'
    fires = 'ALERTS{alertstate="firing"}'
    return {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values} for name, values in {**HEALTHY, **series}.items()
        ],
        "promql_expr_test": [
            {
                "expr": f"count by (alertname) ({fired if ever else fires})",
                "eval_time": f"{minute}m",
                "exp_samples": [
                    {"labels": f'{{alertname="{name}"}}', "value": 1} for name in names
                ],
            }
            for minute, names in times
        ],
    }


def check(folder: Path, *cases: dict[str, object]) -> None:
    """Run promtool's tests of the rules."""
    path = folder / "tests.yml"
    content = {
        "rule_files": [str(FOLDER / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [*cases],
    }
    path.write_text(yaml.safe_dump(content), "utf-8")
    promtool("test", "rules", path)


@pytest.mark.slow
def test_each_alert_fires_alone_by_the_numbers_of_its_fault(tmp_path: Path) -> None:
    assert FAULTS.keys() == rules().keys()
    check(
        tmp_path,
        *[
            case(series, (quiet, []), (loud, [name]))
            for name, (series, quiet, loud) in FAULTS.items()
        ],
        *[case(series, (minute, [name])) for name, series, minute in MORE_FAULTS.values()],
    )


@pytest.mark.slow
def test_no_alert_fires_by_what_happens_in_a_healthy_deployment(tmp_path: Path) -> None:
    check(tmp_path, *[case(each, (END, []), ever=True) for each in ({}, *HARMLESS.values())])


def test_promtool_finds_a_rule_that_fires_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="TickertapeNoWorker"):
        check(tmp_path, case({problem("no_worker"): f"1x{END}"}, (20, [])))


def test_prometheus_reads_the_rules_and_every_configuration(tmp_path: Path) -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", FOLDER / "alerts.yml")
    configurations = [*FOLDER.glob("*prometheus.yml")]
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    for path in configurations:
        copied = tmp_path / path.name
        # Debian builds Prometheus without Kubernetes. All else in the file is checked.
        known = re.sub(
            r"kubernetes_sd_configs:\n.*\n.*", "static_configs: []", path.read_text("utf-8")
        )
        copied.write_text(known, "utf-8")
        promtool("check", "config", copied)
        jobs = {
            job["job_name"] for job in yaml.safe_load(path.read_text("utf-8"))["scrape_configs"]
        }
        assert jobs == JOBS, path.name
    assert configurations


def test_the_runbook_has_a_section_for_each_alert_and_for_nothing_else() -> None:
    text = RUNBOOK.read_text("utf-8")
    sections = dict(
        re.findall(r"^### (Tickertape\w+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    )
    assert [*sections] == [*rules()]
    for name, section in sections.items():
        for part in ("**Means.**", "**Confirm.**", "**Do.**"):
            assert part in section, name


def test_each_alert_has_a_severity_a_sentence_and_its_section_of_the_runbook() -> None:
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert rule["annotations"]["summary"].endswith("."), name
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
