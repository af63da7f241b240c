"""Pure: the types of the options. Each raises ArgumentTypeError, which says what is wrong.

argparse names the function at fault if it raises ValueError, which no user understands.
"""

import argparse


def positive_of(text: str) -> int:
    """A number from 1 up."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def limit_of(text: str) -> int:
    """A number from 1 to 100."""
    number = positive_of(text)
    if number > 100:
        raise argparse.ArgumentTypeError(f"{number} is more than 100")
    return number


def variable_of(text: str) -> tuple[str, str]:
    """A name and a value, as NAME=VALUE."""
    name, found, value = text.partition("=")
    if not name or not found:
        raise argparse.ArgumentTypeError(f"{text!r} does not read NAME=VALUE")
    return name, value


def rate_of(text: str) -> float:
    """A number from 0.01 to a million."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0.01 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.01 and a million")
    return number


def address_of(text: str) -> tuple[str, int]:
    """A host and a port, as HOST:PORT or PORT. The host is this machine if there is none."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", port_of(port)


def port_of(text: str) -> int:
    """A port from 0 to 65535."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)
