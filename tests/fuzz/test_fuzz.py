"""A short run of the fuzz, its control, and the judge of answers."""

from pathlib import Path

import pytest

from tests.fuzz.answers import faults_of
from tests.fuzz.cases import Case, Setting, case
from tests.fuzz.run import fuzz

SETTING = Setting("a-key", "mine-id", "foreign-id")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
ERROR = b'{"error":{"message":"m","type":"t","param":null,"code":"c"}}'


def error(status: int, body: bytes) -> bytes:
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


@pytest.mark.slow
async def test_two_thousand_raw_requests_get_documented_answers(tmp_path: Path) -> None:
    verdict = await fuzz(2000, 7, tmp_path)
    assert not verdict.faults, verdict.report()
    assert verdict.sent == 2000
    assert {200, 202, 400, 401, 404, 408, 431} <= set(verdict.statuses)


@pytest.mark.slow
async def test_the_checker_finds_a_server_without_bounds_and_a_defect(tmp_path: Path) -> None:
    verdict = await fuzz(600, 7, tmp_path, is_safe=False)
    assert verdict.faults["status 500"], verdict.report()
    assert any("not JSON" in fault for fault in verdict.faults)


def test_a_seed_and_a_number_determine_the_bytes() -> None:
    assert [case(3, n, SETTING) for n in range(300)] == [case(3, n, SETTING) for n in range(300)]
    assert case(3, 1, SETTING).sent != case(4, 1, SETTING).sent
    assert len({case(3, n, SETTING).kind for n in range(300)}) == 10


@pytest.mark.parametrize(
    ("received", "fault"),
    [
        (error(500, ERROR), "status 500"),
        (error(418, ERROR), "status 418"),
        (error(400, b"oops"), "not JSON"),
        (error(400, b'{"error":{"message":"m"}}'), "without its fields"),
        (OK + b"more", "no response"),
        (OK.replace(b"{}", b"a secret"), "another tenant"),
    ],
)
def test_each_kind_of_fault_is_found(received: bytes, fault: str) -> None:
    found = faults_of(Case(0, "valid", b"GET / HTTP/1.1"), received, b"a secret"[:8])
    assert any(fault in each for each in found)


def test_documented_answers_are_no_fault() -> None:
    received = OK + error(431, ERROR) + b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked = b"2\r\n{}\r\n0\r\n\r\n"
    assert faults_of(Case(0, "valid", b""), received + chunked + OK, b"a secret") == []
