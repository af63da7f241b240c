"""Release 0.1.0, which runs beside this tree in the shapes that compare both."""

from functools import partial
from pathlib import Path

from bench.box import Box
from tests.support.deployment import MakeDeployment
from tests.support.releases import Release, extract_release

VERSION = "0.1.0"
# No crowd of readers of one log may cost more than this, of the release's cost.
CROWD_MUST = 1.05


def release_tree(box: Box) -> Path:
    """The folder with the release, extracted from the repository's history at the first call."""
    tree = box.directory / f"release-{VERSION}"
    return tree if tree.exists() else extract_release(VERSION, box.directory)


def released(box: Box) -> MakeDeployment:
    """Makes deployments whose programs are the release's."""
    return partial(Release, VERSION, release_tree(box))


def append_script(box: Box) -> str:
    """The release's script that appends a token."""
    return (release_tree(box) / "broker" / "scripts" / "append.lua").read_text("utf-8")
