"""Commands are packed in C, into the bytes that redis-py itself would send."""

from typing import Any

import pytest
from redis.asyncio import Connection
from redis.exceptions import DataError

from tickertape.broker.connections import Connections

PACKED = Connections("redis://127.0.0.1:1").unpooled()


@pytest.mark.parametrize(
    "command",
    [
        ("EVALSHA", "a" * 40, 1, "{p0}:ring", b"\x00\r\n", "", "n\u00e9", -1, 2**60),
        ("ZADD", "k", 1.5, "a", 1e22, b"b", 1e-7),
        ("SCRIPT LOAD", "x" * 9000),
        (b"CONFIG GET", "maxmemory"),
    ],
)
def test_a_command_is_packed_as_redis_py_packs_it(command: tuple[str | bytes | float, ...]) -> None:
    assert b"".join(PACKED.pack_command(*command)) == b"".join(Connection().pack_command(*command))


@pytest.mark.parametrize(("value", "error"), [(None, DataError), ("\ud800", UnicodeEncodeError)])
def test_a_value_that_redis_py_refuses_is_refused(value: Any, error: type[Exception]) -> None:
    for connection in (PACKED, Connection()):
        with pytest.raises(error):
            connection.pack_command("SET", "k", value)
