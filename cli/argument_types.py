"""Pure: the types of the options. Each raises ArgumentTypeError or ValueError."""

import argparse


def positive_of(text: str) -> int:
    """A number from 1 up."""
    number = int(text)
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
    number = float(text)
    if not 0.01 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.01 and a million")
    return number


def address_of(text: str) -> tuple[str, int]:
    """A host and a port, as HOST:PORT or PORT. The host is this machine if there is none."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", port_of(port)


def port_of(text: str) -> int:
    """A port from 0 to 65535."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not a port from 0 to 65535")
    return number
