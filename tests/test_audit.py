"""The audit of the locked packages fails for a vulnerability, and when it could not look."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "CVE-2026-1", "fix_versions": ["3"]}]}
UNASKED = {"name": "bad", "version": "2", "skip_reason": "not found"}


def audited(
    tmp_path: Path, replies: Mapping[str, object], *, offline: bool = False
) -> subprocess.CompletedProcess[str]:
    """The audit of a lock of two packages, with a pip-audit that replies by its service."""
    lock = tmp_path / "a.lock"
    lock.write_text("# Written\ngood==1 \\\n    --hash=sha256:0\nbad==2 \\\n    --hash=sha256:0\n")
    program = tmp_path / "pip-audit"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"replies = json.loads({json.dumps(json.dumps(replies))})\n"
        "service = sys.argv[sys.argv.index('--vulnerability-service') + 1]\n"
        "reply = replies.get(service)\n"
        "if reply is None: sys.exit('cannot connect')\n"
        "print(json.dumps({'dependencies': reply}))\n"
    )
    program.chmod(0o755)
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit", program, lock],
        env={**os.environ, "AUDIT_OFFLINE": "1" if offline else ""},
        check=False, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def test_packages_without_a_known_vulnerability_pass(tmp_path: Path) -> None:
    done = audited(tmp_path, {"osv": [GOOD, {**BAD, "vulns": []}]})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("replies", "said", "code_offline"),
    [
        pytest.param({"osv": [GOOD, BAD]}, "bad 2: CVE-2026-1, mended in 3", 1, id="found"),
        pytest.param({}, "NOT AUDITED: no database", 0, id="no database is reached"),
        pytest.param({"pypi": [GOOD, UNASKED]}, "1 packages, such as bad", 0, id="one is unknown"),
    ],
)
def test_a_vulnerability_and_an_unasked_package_fail_the_audit(
    tmp_path: Path, replies: Mapping[str, object], said: str, code_offline: int
) -> None:
    done = audited(tmp_path, replies)
    assert done.returncode == 1
    assert said in done.stderr
    done = audited(tmp_path, replies, offline=True)
    assert done.returncode == code_offline
    assert said in done.stderr


def test_what_one_database_lacks_the_other_one_is_asked(tmp_path: Path) -> None:
    replies = {"osv": [GOOD, UNASKED], "pypi": [GOOD, BAD]}
    assert "CVE-2026-1" in audited(tmp_path, replies).stderr
