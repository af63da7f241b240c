"""The version of this installation."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def installed_version() -> str:
    """The version of the installed package."""
    try:
        return version("tickertape")
    except PackageNotFoundError:
        return "(not installed)"
