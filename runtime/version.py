"""The version of this installation."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the installed package."""
    try:
        return version("tickertape")
    except PackageNotFoundError:
        return "(not installed)"
