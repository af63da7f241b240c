"""The units of docs/deploy/ as systemd reads them, and what they say about this program."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.front import FILES, program
from tickertape.deliver.process import DeliverTiming
from tickertape.runtime.environment import variable_names
from tickertape.runtime.secret_files import file_variable_names
from tickertape.runtime.settings import Settings

PROGRAM = "/opt/tickertape/bin/tickertape"
DRAINING = ["tickertape-api@.service", "tickertape-worker@.service"]
DELIVER = "tickertape-deliver@.service"
SERVICES = [*DRAINING, DELIVER]
UNITS = [*SERVICES, "tickertape-api.socket"]


def values(unit: str, name: str) -> list[str]:
    """The values of a directive in a unit."""
    text = (FILES / unit).read_text("utf-8")
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        shutil.copy(FILES / unit, tmp_path)
        copied = tmp_path / unit
        # This machine has no such program, which systemd would complain about.
        copied.write_text(copied.read_text("utf-8").replace(PROGRAM, shutil.which("true") or ""))
    named = [str(tmp_path / unit.replace("@.", "@1.")) for unit in UNITS]
    done = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", *named],
        check=False, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_runs_with_few_rights(unit: str, tmp_path: Path) -> None:
    shutil.copy(FILES / unit, tmp_path)
    done = subprocess.run(
        [program("systemd-analyze"), "security", "--offline=true", "--no-pager", "--threshold=20",
         str(tmp_path / unit)],
        check=False, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_gives_a_service_the_time_to_drain(unit: str) -> None:
    is_deliver = unit == DELIVER
    drain_s = DeliverTiming().drain_s if is_deliver else Settings.model_fields["drain_s"].default
    (stop_s,) = values(unit, "TimeoutStopSec")
    assert int(stop_s) >= drain_s + (5 if is_deliver else 15)


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_sets_only_settings_and_has_no_secret(unit: str) -> None:
    pairs = [pair.split("=", 1) for line in values(unit, "Environment") for pair in line.split()]
    assert {name for name, _ in pairs} <= {*variable_names(), *file_variable_names()}
    credentials = {line.partition(":")[0] for line in values(unit, "LoadCredential")}
    files = {value for name, value in pairs if name.endswith(("_FILE", "_WEBHOOKS"))}
    assert files == {f"%d/{name}" for name in credentials}
