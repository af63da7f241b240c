"""Earlier releases come from the history, and a clone without the history says what to do."""

import subprocess
from pathlib import Path

import pytest

from tests.support.releases import COMMITS, extract_release


def test_a_clone_without_the_commit_of_a_release_fails_and_says_what_to_fetch(
    tmp_path: Path,
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with pytest.raises(pytest.fail.Exception, match="git fetch --unshallow") as failed:
        extract_release("0.1.0", tmp_path, repository=tmp_path)
    assert COMMITS["0.1.0"] in str(failed.value)
