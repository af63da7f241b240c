"""Pure: TOML of a file that a person has written."""

import tomllib
from typing import Any


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a text. Raises TOMLDecodeError, also for what only Python cannot hold."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError("Lists are nested too deeply") from None
    except ValueError:
        raise tomllib.TOMLDecodeError("A number has too many digits") from None
