"""The address of a server as it is seen through a proxy."""

from urllib.parse import urlsplit, urlunsplit

from tests.support.proxy import FaultProxy


def port_of(url: str) -> int:
    """The port a URL names."""
    port = urlsplit(url).port
    assert port is not None, "the URL names no port"
    return port


def through(proxy: FaultProxy, url: str) -> str:
    """The URL of the same server and account, reached over the proxy."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(str(parts.port), str(proxy.port))))
