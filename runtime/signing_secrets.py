"""Pure: secrets that replace each other, one in each line of a variable or a file."""

from pydantic import SecretStr

_FEWEST_CHARS, _MOST_LINES = 16, 4


def secrets_in(text: str) -> tuple[str, ...]:
    """The secrets: the first one signs, and all of them verify.

    Raises ValueError with what to write instead.
    """
    secrets = tuple(line.strip() for line in text.split("\n") if line.strip())
    if not secrets or any(len(each) < _FEWEST_CHARS for each in secrets):
        raise ValueError(f"a secret has at least {_FEWEST_CHARS} characters, and a line of its own")
    if len(secrets) > _MOST_LINES:
        raise ValueError(f"at most {_MOST_LINES} secrets are valid at a time: remove old lines")
    return secrets


def secrets_of(setting: SecretStr | None) -> tuple[str, ...]:
    """The secrets of a setting, which was checked; empty if it is not set."""
    return () if setting is None else secrets_in(setting.get_secret_value())
