"""Reads a directory of role files once, at the start. No other module of roles/ reads files."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePath

from tickertape.roles.errors import RoleProblem, RolesInvalid
from tickertape.roles.models import Role
from tickertape.roles.parse import MAX_FILE_BYTES, parse_role
from tickertape.roles.registry import Roles

MAX_FILES = 1000


def load_roles(directory: Path | None = None, *, max_files: int = MAX_FILES) -> Roles:
    """Read every `*.md` file of the directory, not of its subdirectories; None: the built-in roles.

    Hidden files are ignored, because editors and mounted volumes create them. Raises RolesInvalid
    with all problems of all files, or if the directory cannot be read, contains no role file or
    contains more than `max_files`.
    """
    root: Traversable = files("tickertape.roles") / "templates" if directory is None else directory
    roles: list[Role] = []
    problems: list[RoleProblem] = []
    taken: dict[str, str] = {}
    for entry in _role_files(root, max_files):
        try:
            role = parse_role(str(entry), _read(entry), taken)
        except RolesInvalid as invalid:
            problems.extend(invalid.problems)
        else:
            taken[role.name] = str(entry)
            roles.append(role)
    if problems:
        raise RolesInvalid(problems)
    return Roles(roles)


def _role_files(root: Traversable, max_files: int) -> list[Traversable]:
    try:
        # is_file excludes a named pipe `x.md`, which would block the start indefinitely.
        found = [entry for entry in root.iterdir() if _is_role_name(entry.name) and entry.is_file()]
    except OSError as error:
        raise _unreadable(root, error) from error
    if not found:
        raise RolesInvalid([RoleProblem(str(root), None, "no role file (*.md) in this directory")])
    if len(found) > max_files:
        raise RolesInvalid([RoleProblem(str(root), None, f"more than {max_files} role files")])
    return sorted(found, key=lambda entry: entry.name)


def _is_role_name(file_name: str) -> bool:
    return not file_name.startswith(".") and PurePath(file_name).suffix.lower() == ".md"


def _read(entry: Traversable) -> bytes:
    try:
        with entry.open("rb") as opened:
            # One byte over the limit is enough to detect that a file is too large.
            return opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _unreadable(entry, error) from error


def _unreadable(path: Traversable, error: OSError) -> RolesInvalid:
    return RolesInvalid([RoleProblem(str(path), None, f"cannot be read: {error.strerror}")])
