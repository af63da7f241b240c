"""Pure: the addresses that settings may hold. Each check raises ValueError with what to write."""

import re
from urllib.parse import urlsplit

from tickertape.runtime.addresses import is_cluster, is_loopback, node_urls
from tickertape.runtime.sentinel_address import SCHEMES as SENTINEL_SCHEMES
from tickertape.runtime.sentinel_address import parse_sentinel_url

_SCHEMES = {"redis", "rediss", "unix", "redis+cluster", "rediss+cluster"}
_ROOT_PATH = re.compile(r"[A-Za-z0-9_.~-]+(?:/[A-Za-z0-9_.~-]+)*", re.ASCII)
HISTORY_FORMS = (
    "use sqlite:////path/history.db, or postgresql://name:password@host/database with special"
    " characters percent-encoded"
)
_PORT = "the port is not valid: percent-encode special characters in the password"


def checked_redis_url(url: str) -> str:
    """An address of one server, of Sentinels or of a cluster."""
    scheme = url.partition("://")[0]
    if scheme in SENTINEL_SCHEMES:
        parse_sentinel_url(url)
        return url
    if scheme not in _SCHEMES:
        message = (
            "use redis://host:port, rediss://host:port, unix:///path,"
            " redis+sentinel://host:port,host:port/NAME or redis+cluster://host:port,host:port"
        )
        raise ValueError(message)
    try:
        _ = [urlsplit(each).port for each in node_urls(url)]
    except ValueError:
        # Usually the password contains "/", "#" or "?", and the original error would show it.
        raise ValueError(_PORT) from None
    if is_cluster(url):
        _check_cluster_url(url)
    return url


def _check_cluster_url(url: str) -> None:
    for each in node_urls(url):
        parts = urlsplit(each)
        if not parts.hostname:
            message = "give each node of the cluster as host:port, with commas in between"
            raise ValueError(message)
        if parts.path.strip("/"):
            message = "a cluster has one database: leave out what follows the last port"
            raise ValueError(message)


def checked_http_url(url: str) -> str:
    """An address over HTTP, without the slash at its end."""
    if urlsplit(url).scheme not in {"http", "https"}:
        message = "use http://... or https://..."
        raise ValueError(message)
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError(_PORT) from None
    return url.rstrip("/")


def checked_key_set_url(url: str) -> str:
    """An address from which keys cannot be changed on their way."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    ):
        message = "use https://..., because whoever changes the keys on their way gets in"
        raise ValueError(message)
    return url


def checked_root_path(path: str) -> str:
    """A path with a slash in front and none at its end; empty for the root itself."""
    bare = path.strip("/")
    # Clients resolve the dots before they call, and call another path.
    if bare and (not _ROOT_PATH.fullmatch(bare) or {".", ".."} & {*bare.split("/")}):
        message = "use a path such as /llm"
        raise ValueError(message)
    return f"/{bare}" if bare else ""


def checked_history_url(url: str) -> str:
    """An address of SQLite or PostgreSQL."""
    scheme, separator, rest = url.partition("://")
    is_known = scheme in {"sqlite", "postgresql", "postgresql+psycopg"}
    if not (is_known and separator and rest.strip("/")):
        raise ValueError(HISTORY_FORMS)
    return url
