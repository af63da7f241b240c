"""Where the API is, and the key for it: the arguments of a client, else the environment."""

import os
from urllib.parse import quote

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE = "TICKERTAPE_URL"
KEY_VARIABLE = "TICKERTAPE_API_KEY"


def url_from_environment() -> str:
    """The value of TICKERTAPE_URL, else the address of `tickertape up` on this machine."""
    return os.environ.get(URL_VARIABLE) or DEFAULT_URL


def key_from_environment() -> str | None:
    """The value of TICKERTAPE_API_KEY, None if it is not set."""
    return os.environ.get(KEY_VARIABLE) or None


def request_path(request_id: str) -> str:
    """The path of a request."""
    return f"/chat/{quote(request_id, safe='')}"


def conversation_path(conversation_id: str) -> str:
    """The path of a conversation. Ids of the AI SDK may contain slashes, which stay."""
    return f"/conversations/{quote(conversation_id, safe='/@:~=+')}"


def quoted(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")
