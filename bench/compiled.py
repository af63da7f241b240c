"""Builds the C programs in native/, which are fast enough not to limit a measurement."""

import shutil
import subprocess
from pathlib import Path

_SOURCES = Path(__file__).parent / "native"


class NoCompiler(RuntimeError):
    """The bench needs a C compiler."""


def compiled(name: str, directory: Path) -> Path:
    """The program built from native/`name`.c in `directory`; an existing one is reused."""
    program = directory / name
    if not program.exists():
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NoCompiler("the bench needs a C compiler (Debian, Ubuntu: apt-get install gcc)")
        source = _SOURCES / f"{name}.c"
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    return program
