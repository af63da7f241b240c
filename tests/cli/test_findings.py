"""The conclusions of `doctor`."""

import pytest

from tickertape.broker.partition_map import PartitionMap
from tickertape.cli.inspect import findings
from tickertape.cli.inspect.findings import Finding, Level

VALKEY = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.2",
    "aof_enabled": 1,
    "maxmemory_policy": "noeviction",
    "role": "master",
}


def worst(found: list[Finding]) -> Level:
    order = list(Level)
    return max((finding.level for finding in found), key=order.index)


def test_a_server_configured_like_the_embedded_one_passes_with_its_version() -> None:
    (finding,) = findings.redis_findings(VALKEY)
    assert finding == Finding(Level.OK, "redis", "Valkey 9.1.2")


@pytest.mark.parametrize(
    ("wrong", "level"),
    [
        ({"aof_enabled": 0}, Level.WARN),
        ({"maxmemory_policy": "allkeys-lru"}, Level.FAIL),
        ({"role": "slave"}, Level.FAIL),
    ],
)
def test_a_server_that_would_lose_requests_is_reported(
    wrong: dict[str, object], level: Level
) -> None:
    found = findings.redis_findings({**VALKEY, **wrong})
    assert worst(found) is level
    assert all(finding.remedy for finding in found if finding.level is not Level.OK)


def test_a_server_with_an_empty_info_causes_no_crash() -> None:
    assert worst(findings.redis_findings({})) is Level.WARN


def test_another_number_of_partitions_is_reported() -> None:
    assert findings.partition_findings(2, PartitionMap(2)) == []
    (finding,) = findings.partition_findings(1, PartitionMap(4))
    assert finding.level is Level.WARN
    assert "set it to 4" in finding.remedy


def test_a_change_of_the_partitions_that_is_not_settled_is_reported() -> None:
    begun, kept = findings.partition_findings(4, PartitionMap(4, 2, (1, 2), 8))
    assert begun.remedy == "run `tickertape partitions 8`"
    assert (kept.level, "1, 2" in kept.text) == (Level.OK, True)


def test_a_misspelt_variable_is_reported_with_the_correct_name() -> None:
    found = findings.unknown_variables(
        dict.fromkeys(
            ["TICKERTAPE_LEASE", "TICKERTAPE_LEASE_S", "TICKERTAPE_API_KEY", "HOME"], "1"
        ),
        ["TICKERTAPE_LEASE_S", "REDIS_URL"],
    )
    assert [finding.remedy for finding in found] == ["did you mean TICKERTAPE_LEASE_S?"]


def test_a_renamed_variable_is_reported_with_its_new_name() -> None:
    (finding,) = findings.old_variables({"TICKERTAPE_OLD": "TICKERTAPE_NEW"})
    assert finding.level is Level.WARN
    assert (finding.text, finding.remedy) == (
        "TICKERTAPE_OLD is the old name of TICKERTAPE_NEW",
        "rename it to TICKERTAPE_NEW",
    )


def test_an_unknown_variable_without_a_similar_name_is_reported() -> None:
    (finding,) = findings.unknown_variables({"TICKERTAPE_XYZZY": "1"}, ["TICKERTAPE_LEASE_S"])
    assert finding.remedy == "remove it"


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
    assert findings.model_finding(wanted, offered).level is level


def test_an_old_python_and_a_missing_package_are_failures() -> None:
    assert findings.python_finding((3, 10, 9)).level is Level.FAIL
    assert findings.python_finding((3, 11, 0)).level is Level.OK
    missing = findings.packages_finding({"redis": "8.1", "hiredis": None}, "install it")
    assert (missing.level, missing.text) == (Level.FAIL, "missing: hiredis")


def test_few_files_and_a_full_disk_are_warnings() -> None:
    assert findings.descriptors_finding(1024).level is Level.WARN
    assert findings.descriptors_finding(-1).level is Level.OK
    assert findings.disk_finding("/data", 10**6).level is Level.WARN
    assert findings.disk_finding("/data", 10**10).level is Level.OK


def test_the_remedy_is_printed_under_the_problem() -> None:
    assert str(findings.fail("redis", "away", "start it")) == (
        "FAIL  redis      away\n                 start it"
    )
