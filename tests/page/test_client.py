"""The page's modules under Node's test runner: one test here for each file of tests there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.node import nodes

_FOLDER = Path(__file__).parent
_FILES = sorted(path.name for path in _FOLDER.glob("*.test.mjs"))
_NODE = shutil.which("node")
_NEWER_NODE = nodes()[-1]


@pytest.mark.skipif(_NODE is None, reason="Node is not installed")
@pytest.mark.parametrize("name", _FILES)
def test_every_javascript_test_passes(name: str) -> None:
    assert _NODE is not None
    _assert_passes(_NODE, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", _FILES)
def test_every_javascript_test_passes_in_the_newer_node(name: str) -> None:
    _assert_passes(_NEWER_NODE, name)


def _assert_passes(node: str, name: str) -> None:
    done = subprocess.run(
        # `node --test` starts one more process for each file.
        [node, "--test-reporter=tap", name],
        cwd=_FOLDER,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    # A file whose tests were not found passes too, as one test: itself.
    assert passed is not None
    assert int(passed[1]) > 1, done.stdout


def test_the_files_of_javascript_tests_are_found() -> None:
    assert _FILES
