"""redis-py's clients for one server and for a cluster, and the options of their connections."""

import re
from typing import Any

from redis.asyncio import Connection, Redis, SSLConnection
from redis.asyncio.connection import parse_url
from redis.driver_info import DriverInfo
from redis.exceptions import RedisError

from tickertape.broker.cluster import ClusterClient, Node
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.fair_pool import FairPool
from tickertape.broker.server_connection import server_connection
from tickertape.broker.shared_line import SharedLine
from tickertape.runtime.addresses import node_urls

_POOL_WAIT_S = 5.0
# What every connection gets from `Connections`, and redis-py does not know.
_SHARED = ("writes", "locate", "account", "certificates")
# Options of a URL that a pool takes in place of its connections.
_POOL_OPTIONS = {"max_connections", "timeout"}
# Without it, redis-py looks up its own version in the files of its package for each connection,
# which takes 4 ms.
_DRIVER = DriverInfo()


class ServerClient(Redis):
    """The client of one server, which closes its pool. Scripts are called on `line`."""

    def __init__(self, pool: FairPool) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self.turns = pool.turns
        self.line: SharedLine | None = None


def server_client(url: str, connect_timeout_s: float, **ours: Any) -> ServerClient:
    """The client of the server in a URL; `ours` are options of the pool and its connections."""
    options = options_of(url, connect_timeout_s, timeout=_POOL_WAIT_S, **ours)
    return ServerClient(FairPool(**options))


def cluster_client(url: str, connect_timeout_s: float, **ours: Any) -> ClusterClient:
    """The client of the cluster in a URL; `ours` are options of the client."""
    options = options_of(url, connect_timeout_s, **ours)
    connection = {name: options.pop(name) for name in ("connection_class", *_SHARED)}
    starts = [parse_url(each) for each in node_urls(url)]
    return ClusterClient(
        [Node(start.get("host", "localhost"), start.get("port", 6379)) for start in starts],
        connection,
        ssl=issubclass(connection["connection_class"], SSLConnection),
        **{name: value for name, value in options.items() if name not in {"host", "port", "db"}},
    )


def options_of(url: str, connect_timeout_s: float, **ours: Any) -> dict[str, Any]:
    """The address, account and TLS of the URL. The URL cannot change other options."""
    given = parse_url(node_urls(url)[0])
    kind: Any = given.get("connection_class", Connection)
    return {
        **given,
        "connection_class": server_connection(kind),
        "protocol": 2,
        "decode_responses": False,
        "socket_connect_timeout": connect_timeout_s,
        "driver_info": _DRIVER,
        **ours,
    }


def check_options(url: str) -> None:
    """Raise SettingsInvalid for options of the URL that no connection has, before the first use."""
    try:
        options = parse_url(node_urls(url)[0])
        kind: Any = options.pop("connection_class", Connection)
        given = {name: value for name, value in options.items() if name not in _POOL_OPTIONS}
        kind(driver_info=_DRIVER, **given)
    except (TypeError, ValueError, RedisError) as error:
        # Python quotes the name of an unknown option, and redis-py that of a wrong value.
        name = next(iter(re.findall("'([a-z_]+)'", str(error))), None)
        named = f"the option {name}" if name else "an option"
        raise SettingsInvalid(
            f"REDIS_URL has {named} behind its ? that is unknown or has a wrong value"
        ) from None
