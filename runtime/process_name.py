"""The name of a process among all others of a deployment."""

import os
import secrets
import socket


def process_name() -> str:
    """A unique, readable name: host, process id, random digits.

    The name has neither `:` nor `|`, which keys and scripts put behind names.
    """
    host = socket.gethostname().partition(".")[0].replace(":", "-").replace("|", "-")
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"
