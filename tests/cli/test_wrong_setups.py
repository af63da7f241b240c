"""Each wrong set-up that `doctor` knows, caused for real: it is found, alone, with its fix."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.setup_stage import WrongSetup, doctor, examined, good_stage, problems
from tests.cli.setup_table import documented_rows, row
from tests.cli.wrong_setups import SETUPS
from tests.support.servers import valkey_server


@pytest.fixture(scope="module")
def good_url() -> Iterator[str]:
    """A server with an append-only file, which stays as it is."""
    with valkey_server(append_only=True) as server:
        yield server.url


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(wrong, id=wrong.name, marks=[pytest.mark.slow] * wrong.is_slow)
        for wrong in SETUPS
    ],
)
async def test_it_is_found_alone_with_its_fix_and_as_documented(
    wrong: WrongSetup, tmp_path: Path, good_url: str
) -> None:
    code, report = await examined(wrong, tmp_path, good_url)
    (found,) = problems(report)
    assert found["case"] == wrong.case
    assert found["fix"]
    assert "Traceback" not in str(report)
    assert code == (found["level"] == "fail")
    assert row(wrong.name, code, found) in documented_rows(), "make doctor-table"


async def test_nothing_is_found_where_all_is_well(tmp_path: Path, good_url: str) -> None:
    async with good_stage(tmp_path, good_url) as stage:
        code, report = await asyncio.to_thread(doctor, "up", stage)
    assert (code, problems(report)) == (0, [])


def test_the_documented_table_has_each_set_up_once() -> None:
    assert len({wrong.name for wrong in SETUPS}) == len(SETUPS) == len(documented_rows()) >= 42
