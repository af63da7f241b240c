"""The folder of each upstream's data, below the data folder of `up`.

The first upstream that uses a data folder has the folder itself, where version 0.1.0 kept its data.
Every other upstream has a folder in `upstreams/`. Waiting prompts therefore never reach an upstream
that they were not submitted for.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tickertape.cli.up.upstream_identity import UpstreamIdentity

_MARK = "upstream"
_OTHERS = "upstreams"


def claim_data_dir(data_dir: Path, upstream: UpstreamIdentity) -> Path:
    """The folder for the data of `upstream`. Marks `data_dir` if it has no mark yet.

    Of several processes that call this at once, one marks the folder. Raises OSError.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    mark = data_dir / _MARK
    if not mark.exists():
        _write_once(mark, f"{upstream.name}\n{upstream.label}\n")
    return data_dir_of(data_dir, upstream)


def data_dir_of(data_dir: Path, upstream: UpstreamIdentity) -> Path:
    """The folder for the data of `upstream`, without marking any. Raises OSError."""
    name, _ = _read_mark(data_dir)
    if name in {"", upstream.name}:
        return data_dir
    return data_dir / _OTHERS / upstream.name


def label_of(data_dir: Path) -> str:
    """The words for the upstream that has `data_dir` itself; empty without a mark."""
    return _read_mark(data_dir)[1]


def all_data_dirs(data_dir: Path) -> Iterator[Path]:
    """`data_dir`, and the folders of the other upstreams in it."""
    yield data_dir
    with contextlib.suppress(OSError):
        yield from sorted((data_dir / _OTHERS).iterdir())


def _read_mark(data_dir: Path) -> tuple[str, str]:
    try:
        name, _, label = (data_dir / _MARK).read_text().partition("\n")
    except FileNotFoundError:
        return "", ""
    return name, label.strip()


def _write_once(path: Path, text: str) -> None:
    """Write the file in one step, unless another process has written it."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)  # noqa: PTH108  # the name is a text
