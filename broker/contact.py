"""What a process meets when it first calls the server of REDIS_URL, in words that lead to a fix."""

import socket
import ssl
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from redis.exceptions import AuthenticationError, InvalidResponse

from tickertape.broker.errors import AccessDenied, Unavailable, WritesRefused
from tickertape.broker.redis_errors import reply_text


class Trouble(StrEnum):
    """Why a server cannot be used, by what has to be corrected."""

    LOGIN = "login"
    DATABASE = "database"
    DENIED = "denied"
    CERTIFICATE = "certificate"
    FILE = "file"
    TLS = "tls"
    NAME = "name"
    AWAY = "away"
    SILENT = "silent"
    FOREIGN = "foreign"
    CLIENTS = "clients"
    WRITES = "writes"
    OTHER = "other"


class Contact(NamedTuple):
    """Why the first call failed, and the words of the server or of the system for that."""

    trouble: Trouble
    words: str


_REPLIES = {
    "DB index is out of range": Trouble.DATABASE,
    "max number of clients reached": Trouble.CLIENTS,
}


def trouble_of(error: BaseException) -> Contact:
    """Pure: the trouble behind an Unavailable or a TimeoutError. The words contain no secret."""
    causes = [*_chain(error)]
    text = next((found for each in causes if (found := reply_text(each))), None) or ""
    for reply, trouble in _REPLIES.items():
        if any(reply in str(each) for each in causes):
            return Contact(trouble, reply)
    if any(isinstance(each, AuthenticationError) for each in causes):
        return Contact(Trouble.LOGIN, text)
    if isinstance(error, WritesRefused):
        return Contact(Trouble.WRITES, text or str(error))
    if isinstance(error, AccessDenied):
        return Contact(Trouble.DENIED, str(error))
    return _of_connection(error, causes)


def _of_connection(error: BaseException, causes: list[BaseException]) -> Contact:
    for each in causes:
        match each:
            case ssl.SSLCertVerificationError():
                return Contact(Trouble.CERTIFICATE, each.verify_message)
            case ssl.SSLError():
                return _of_tls(each)
            case FileNotFoundError() | PermissionError() | IsADirectoryError():
                return Contact(Trouble.FILE, each.strerror or type(each).__name__)
            case socket.gaierror():
                return Contact(Trouble.NAME, each.strerror or "unknown name")
            case ConnectionRefusedError():
                return Contact(Trouble.AWAY, "the connection is refused")
            case InvalidResponse():
                return Contact(Trouble.FOREIGN, "its answer is not of the Redis protocol")
    if not isinstance(error, Unavailable) or any(isinstance(each, TimeoutError) for each in causes):
        return Contact(Trouble.SILENT, "no answer in time")
    cause = error.__cause__
    return Contact(Trouble.AWAY, str(cause) if cause else str(error))


def _of_tls(error: ssl.SSLError) -> Contact:
    reason = (error.reason or "TLS fails").replace("_", " ").lower()
    # The file of an authority that holds no certificate is met before any byte is sent.
    is_file = error.library == "X509" or "PEM" in (error.reason or "")
    return Contact(Trouble.FILE if is_file else Trouble.TLS, reason)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, which redis-py often has as context only."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
