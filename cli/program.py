"""The command that starts this program, as a person types it."""

import os
import shlex
import shutil
import sys
from pathlib import Path

_COMMAND = "tickertape"
_MODULE = "tickertape.cli.main"


def program_name() -> str:
    """The words that run this program in the working folder, quoted for a shell.

    `tickertape` if the PATH leads to this program, else its path, which is relative where that is
    shorter, for example `.venv/bin/tickertape`.
    """
    program = _program()
    if program is None:
        return f"{shlex.quote(_short(Path(sys.executable)))} -m {_MODULE}"
    on_path = shutil.which(_COMMAND)
    if on_path is not None and Path(on_path).samefile(program):
        return _COMMAND
    return shlex.quote(_short(program))


def _program() -> Path | None:
    """The program that was started, or the one beside the interpreter after `python -m`."""
    for program in (Path(sys.argv[0]), Path(sys.executable).parent / _COMMAND):
        if program.name == _COMMAND and program.is_file():
            return program
    return None


def _short(path: Path) -> str:
    absolute = str(path.absolute())
    relative = os.path.relpath(absolute)
    if len(relative) >= len(absolute):
        return absolute
    # A shell looks for a name without a slash on the PATH.
    return relative if os.sep in relative else f"{os.curdir}{os.sep}{relative}"
