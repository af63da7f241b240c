"""redis-py's connection, with what it lacks when servers change roles."""

import functools
from typing import Any

from redis.asyncio.connection import AbstractConnection, SSLConnection
from redis.connection import HiredisRespSerializer
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as ConnectionLost

from tickertape.broker.account import Account
from tickertape.broker.certificates import Certificates
from tickertape.broker.sentinel import Locate
from tickertape.broker.write_state import WriteState, is_demotion

_UVLOOP_CLOSED = "the handler is closed"
_SERIALIZER = HiredisRespSerializer()


class ServerDemoted(ConnectionLost):
    """The connection was dropped, because its server refuses writes."""


class _ServerConnection(AbstractConnection):
    """Leaves a server that refuses writes, and raises ConnectionError for each lost connection.

    After a refusal, redis-py repeats the command on a new connection, because the refusal looks
    like a lost connection. Idle connections of a pool are renewed before their next use.

    On asyncio's loop, a write to a closed transport is a ConnectionError, and redis-py repeats the
    command on another connection. uvloop raises a RuntimeError (`_ensure_alive` in its
    handles/handle.pyx), which redis-py lets through: one reset during the renewal of a lease would
    end the worker. When a node of a cluster is lost, redis-py closes connections to it that calls
    have just taken, and these calls fail with an AttributeError.

    redis-py packs the commands of its asyncio connections in Python. The serializer of its other
    connections packs a call of a script in a third of the time.
    """

    def __init__(
        self,
        *,
        writes: WriteState,
        locate: Locate | None = None,
        account: Account | None = None,
        certificates: Certificates | None = None,
        **options: Any,
    ) -> None:
        self._writes = writes
        self._locate = locate
        self._account = account
        self._certificates = certificates
        self._generation = writes.generation
        super().__init__(**options)

    async def connect(self) -> None:
        if self.is_connected and self._is_old:
            await self.disconnect(nowait=True)
        await super().connect()  # type: ignore[no-untyped-call]  # bare in redis-py

    async def connect_check_health(
        self,
        check_health: bool = True,  # noqa: FBT001, FBT002  # redis-py's
        retry_socket_connect: bool = True,  # noqa: FBT001, FBT002  # redis-py's
    ) -> None:
        if not self.is_connected:
            self._generation = self._writes.generation
        await super().connect_check_health(check_health, retry_socket_connect)

    async def _connect(self) -> None:
        if self._locate is not None:
            self.host, self.port = await self._locate()
        if self._account is not None:
            # It may have changed since this connection was made, or was open before.
            self.username, self.password = self._account.username, self._account.password
        if self._certificates is not None and isinstance(self, SSLConnection):
            self._certificates.renew(self.ssl_context)
        await super()._connect()  # type: ignore[no-untyped-call,safe-super]  # a kind has one

    def pack_command(self, *arguments: Any) -> list[bytes]:
        packed: list[bytes] = _SERIALIZER.pack(*arguments)
        return packed

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            if _UVLOOP_CLOSED not in str(error):
                raise
            raise ConnectionLost("The connection was lost.") from error
        except AttributeError as error:
            raise self._lost(error) from error

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)
        except (ResponseError, AuthenticationError, BusyLoadingError) as error:
            reply = full_reply(error)
            if not is_demotion(reply):
                raise
            self._writes.refused(reply)
            if not self._is_old:
                raise
            await self.disconnect(nowait=True)
            raise ServerDemoted(reply) from error
        except AttributeError as error:
            raise self._lost(error) from error

    def _lost(self, error: AttributeError) -> Exception:
        return error if self.is_connected else ConnectionLost("The connection was lost.")

    @property
    def _is_old(self) -> bool:
        return self._generation != self._writes.generation


def full_reply(error: RedisError) -> str:
    """An error reply with its first word, which redis-py removes where the error has a class."""
    text, word = str(error), error.status_code
    return f"{word} {text}" if word and not text.startswith(f"{word} ") else text


@functools.cache
def server_connection(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """The class of connections of this kind (TCP, TLS or a socket file)."""
    # Cached, because a class is a reference cycle, and each try to reconnect needs one.
    return type(kind.__name__, (_ServerConnection, kind), {})
