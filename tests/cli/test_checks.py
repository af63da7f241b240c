"""The pure checks of `doctor` and of every start."""

import json

import pytest

from tests.support.given_settings import GivenSettings
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.queue_depth import QueueDepth
from tickertape.broker.server_facts import ServerFacts
from tickertape.cli.checks import of_machine, of_redis, of_settings
from tickertape.cli.checks.cases import CASES, EDGE, HANDING_ON, MACHINE, REDIS, SETTINGS, UPSTREAM
from tickertape.cli.checks.finding import ROLES, Finding, Level, report
from tickertape.cli.checks.of_upstream import model_finding

VALKEY = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.2",
    "aof_enabled": 1,
    "maxmemory_policy": "noeviction",
    "maxclients": 10_000,
    "role": "master",
}
ADDRESS = "redis://h:1/0"


def of_server(facts: ServerFacts) -> list[Finding]:
    return [*of_redis.server_findings(facts, GivenSettings(), "up", ADDRESS)]


def of_info(**changed: object) -> list[Finding]:
    return of_server(ServerFacts(info={**VALKEY, **changed}))


def wrong(found: list[Finding]) -> list[str]:
    return [finding.case for finding in found if finding.level is not Level.OK]


def test_each_case_has_a_name_of_its_own_and_a_fix() -> None:
    cases = [*SETTINGS, *REDIS, *UPSTREAM, *EDGE, *HANDING_ON, *MACHINE]
    assert len(CASES) == len(cases)
    assert all(case.fix and case.condition for case in cases)
    assert {case.level for case in cases} == {Level.WARN, Level.FAIL}


def test_only_failures_end_a_start() -> None:
    assert {case.level for case in CASES.values() if case.ends_start} == {Level.FAIL}


def test_a_server_configured_like_the_embedded_one_passes_with_its_version() -> None:
    answers, version = of_info()
    assert answers.text == f"{ADDRESS} answers"
    assert (version.level, version.text) == (Level.OK, "Valkey 9.1.2")


@pytest.mark.parametrize(
    ("changed", "case"),
    [
        ({"aof_enabled": 0}, "redis-aof"),
        ({"maxmemory_policy": "allkeys-lru"}, "redis-eviction"),
        ({"role": "slave"}, "redis-replica"),
        ({"maxclients": 70, "connected_clients": 3}, "redis-maxclients"),
        ({"maxmemory": 300_000_000, "used_memory": 300_000_000}, "redis-full"),
        ({"maxmemory": 3_000_000, "used_memory": 1}, "redis-memory"),
    ],
)
def test_a_server_that_would_lose_or_refuse_requests_is_reported(
    changed: dict[str, object], case: str
) -> None:
    found = of_info(**changed)
    assert wrong(found) == [case]
    assert all(finding.fix for finding in found if finding.level is not Level.OK)


def test_a_server_with_an_empty_info_causes_no_crash() -> None:
    assert wrong(of_server(ServerFacts(info={}))) == ["redis-aof"]


def test_a_buffer_for_pushes_that_is_not_limited_passes() -> None:
    name = "client-output-buffer-limit"
    none = {name: "normal 0 0 0 slave 1 1 60 pubsub 0 0 0"}
    small = {name: "normal 0 0 0 slave 1 1 60 pubsub 65536 0 0"}
    assert wrong(of_server(ServerFacts(info=VALKEY, config=none))) == []
    assert wrong(of_server(ServerFacts(info=VALKEY, config=small))) == ["redis-pubsub-buffer"]


@pytest.mark.parametrize(
    ("claimed_s", "waiting", "found"),
    [(None, 1, ["redis-no-worker"]), (999.0, 1, []), (None, 0, []), (1.0, 2, ["redis-no-worker"])],
)
def test_requests_that_no_worker_asks_for_are_reported(
    claimed_s: float | None, waiting: int, found: list[str]
) -> None:
    queue = QueueDepth(waiting, 0, 0, 0, 0, 1.0, claimed_s, now_s=1000.0)
    assert wrong(of_server(ServerFacts(info=VALKEY, queue=queue))) == found


def test_another_number_of_partitions_is_reported() -> None:
    assert [*of_redis.partition_findings(2, PartitionMap(2))] == []
    (finding,) = of_redis.partition_findings(1, PartitionMap(4))
    assert finding.level is Level.WARN
    assert "set it to 4" in finding.fix


def test_a_change_of_the_partitions_that_is_not_settled_is_reported() -> None:
    begun, kept = of_redis.partition_findings(4, PartitionMap(4, 2, (1, 2), 8))
    assert begun.fix == "run `tickertape partitions 8`"
    assert (kept.level, "1, 2" in kept.text) == (Level.OK, True)


@pytest.mark.parametrize(("ahead_s", "words"), [(9.0, "9 s ahead of"), (-9.0, "9 s behind")])
def test_a_clock_that_differs_from_that_of_redis_is_reported(ahead_s: float, words: str) -> None:
    found = of_redis.clock_finding(ahead_s)
    assert found is not None
    assert words in found.text
    assert of_redis.clock_finding(ahead_s / 9) is None


def unknown(*names: str) -> list[str]:
    known = ["TICKERTAPE_LEASE_S", "REDIS_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY"]
    given = dict.fromkeys(names, "1")
    return [finding.fix for finding in of_settings.unknown_variables(given, known)]


def test_a_misspelt_variable_is_reported_with_the_correct_name() -> None:
    names = ("TICKERTAPE_LEASE", "TICKERTAPE_LEASE_S", "TICKERTAPE_API_KEY", "HOME")
    assert unknown(*names) == ["did you mean TICKERTAPE_LEASE_S?"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("REDIS_ULR", "REDIS_URL"),
        ("REDISURL", "REDIS_URL"),
        ("OPENAI_API_BASE", "OPENAI_BASE_URL"),
        ("OPENAI_BASEURL", "OPENAI_BASE_URL"),
        ("TICKERTAP_LEASE_S", "TICKERTAPE_LEASE_S"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_is_reported(name: str, meant: str) -> None:
    assert unknown(name) == [f"did you mean {meant}?"]
    assert unknown(name, meant) == []


@pytest.mark.parametrize("name", ["REDIS_PASSWORD", "REDIS_HOST", "OPENAI_ORG_ID", "DATABASE_URL"])
def test_a_variable_of_another_program_is_not_reported(name: str) -> None:
    assert unknown(name) == []


def test_a_renamed_variable_is_reported_with_its_new_name() -> None:
    (finding,) = of_settings.old_variables({"TICKERTAPE_OLD": "TICKERTAPE_NEW"})
    assert finding.level is Level.WARN
    assert (finding.text, finding.fix) == (
        "TICKERTAPE_OLD is the old name of TICKERTAPE_NEW",
        "rename it to TICKERTAPE_NEW",
    )


def test_an_unknown_variable_without_a_similar_name_is_reported() -> None:
    assert unknown("TICKERTAPE_XYZZY") == ["remove it"]


@pytest.mark.parametrize(
    ("origin", "instead"),
    [
        ("one.example", "https://one.example"),
        ("https://one.example/", "https://one.example"),
        ("https://one.example/page", "https://one.example"),
        ("https://One.Example:8443", "https://one.example:8443"),
    ],
)
def test_an_origin_that_no_browser_sends_is_reported_with_the_one_it_sends(
    origin: str, instead: str
) -> None:
    (finding,) = of_settings.unwise_values(GivenSettings(cors_origins=origin))
    assert finding.fix == f"write {instead}"
    assert [*of_settings.unwise_values(GivenSettings(cors_origins=instead))] == []


def test_a_process_is_warned_only_of_settings_that_it_reads() -> None:
    settings = GivenSettings(heartbeat_s=300, deadline_s=10, first_byte_s=20)
    of_role = {role: [*of_settings.unwise_values(settings, role)] for role in ROLES}
    assert wrong(of_role["api"]) == ["settings-heartbeat"]
    assert wrong(of_role["worker"]) == ["settings-deadline"]


def test_the_defaults_are_wise() -> None:
    assert [*of_settings.unwise_values(GivenSettings())] == []


@pytest.mark.parametrize(
    ("wanted", "offered", "level"),
    [
        ("b", ["a", "b"], Level.OK),
        ("c", ["a", "b"], Level.WARN),
        ("c", [], Level.OK),
        (None, ["a"], Level.WARN),
    ],
)
def test_a_model_that_the_upstream_does_not_list_is_reported(
    wanted: str | None, offered: list[str], level: Level
) -> None:
    assert model_finding(wanted, offered).level is level


def test_an_old_python_and_a_missing_package_are_failures() -> None:
    assert of_machine.python_finding((3, 10, 9)).level is Level.FAIL
    assert of_machine.python_finding((3, 11, 0)).level is Level.OK
    missing = of_machine.packages_finding({"redis": "8.1", "hiredis": None})
    assert (missing.level, missing.text) == (Level.FAIL, "missing: hiredis")


def test_few_files_and_a_full_disk_are_warnings() -> None:
    assert of_machine.descriptors_finding(1024).level is Level.WARN
    assert of_machine.descriptors_finding(-1).level is Level.OK
    assert of_machine.disk_finding("/data", 10**6).level is Level.WARN
    assert of_machine.disk_finding("/data", 10**10).level is Level.OK


def test_the_fix_is_printed_under_the_problem_and_at_a_start_behind_it() -> None:
    finding = Finding(Level.FAIL, "redis-away", "redis", "away", "start it")
    assert str(finding) == "FAIL  redis      away\n                 start it"
    assert finding.line == "away: start it"


def test_the_report_in_json_has_the_documented_fields() -> None:
    finding = CASES["redis-aof"].found()
    shown = report("api", [finding, *of_info()])
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["version"], shown["role"]) == (1, "api")
    assert (shown["failures"], shown["warnings"]) == (0, 1)
    assert shown["findings"][0] == {
        "case": "redis-aof",
        "level": "warn",
        "subject": "redis",
        "text": finding.text,
        "fix": finding.fix,
        "ends_start": False,
    }
    assert shown["findings"][1]["fix"] is None
