"""Earlier releases, taken from the history of this repository and run beside this tree.

Releases are named by commit, because a clone may have no tags. They run with the packages of this
tree's environment.
"""

import compileall
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.programs import Program, environment
from tickertape.cli.serve import module_argv

COMMITS = {"0.1.0": "526292bb8456b908149921dcf1614c1d5b436e21"}
_REPOSITORY = Path(__file__).parents[2]
# Each release's module of the command `tickertape`.
_MODULES = {"0.1.0": "cli.main"}


def extract_release(version: str, directory: Path, repository: Path = _REPOSITORY) -> Path:
    """Write the tree of a release to a new folder in `directory`, and return the folder.

    Fails the test if this clone does not have the commit.
    """
    commit = COMMITS[version]
    archived = subprocess.run(
        ["git", "archive", "--format=tar", commit],
        cwd=repository,
        capture_output=True,
        check=False,
    )
    if archived.returncode != 0:
        pytest.fail(
            f"Release {version} is commit {commit}, which this clone does not have. Get the"
            " history with `git fetch --unshallow`, or this commit alone with"
            f" `git fetch --depth=1 origin {commit}`. git said:"
            f" {archived.stderr.decode(errors='replace').strip()}",
            pytrace=False,
        )
    tree = directory / f"release-{version}"
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(tree, filter="data")
    # Its processes may start at the same time, and each would compile all modules.
    compileall.compile_dir(tree, quiet=2)
    return tree


class Release(Deployment):
    """A deployment whose programs are those of an earlier release."""

    def __init__(
        self,
        version: str,
        tree: Path,
        directory: Path,
        *,
        redis_url: str,
        upstream_url: str,
        **settings: str,
    ) -> None:
        super().__init__(directory, redis_url=redis_url, upstream_url=upstream_url, **settings)
        self._version = version
        self._tree = tree

    def start(self, name: str, *arguments: str) -> Program:
        """Start the release's `tickertape` with these arguments."""
        name = f"{self._version}-{name}-{len(self.programs)}"
        argv = module_argv(_MODULES[self._version], *arguments)
        env = environment(**self.settings)
        env["PYTHONPATH"] = os.pathsep.join([str(self._tree), env["PYTHONPATH"]])
        program = Program(name, argv, self._directory, env)
        self.programs.append(program)
        return program
