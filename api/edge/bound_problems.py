"""The refusals of callers that send too much, too slowly or too many things at once."""

from tickertape.api.edge.problems import Problem

REFUSED = "tickertape.refused"
"""The entry of a scope that holds the Problem for which its body is not received further."""

_LATER = {"Retry-After": "1"}


def malformed() -> Problem:
    """The refusal of bytes that are not HTTP/1.1."""
    return Problem(400, "invalid_request", "This is not a valid HTTP/1.1 request.")


def target_too_long(limit_bytes: int) -> Problem:
    """The refusal of a path and query that are too long."""
    message = f"The path and query are longer than {limit_bytes} bytes."
    return Problem(414, "target_too_long", message)


def headers_too_large(limit_bytes: int, limit: int) -> Problem:
    """The refusal of a head that is too long."""
    message = f"Send at most {limit_bytes} bytes of headers, and at most {limit} headers."
    return Problem(431, "headers_too_large", message)


def trailers_too_large(limit_bytes: int, limit: int) -> Problem:
    """The refusal of too many trailers behind a body in chunks."""
    message = f"Send at most {limit_bytes} bytes of trailers, and at most {limit} trailers."
    return Problem(431, "trailers_too_large", message)


def chunks_too_small() -> Problem:
    """The refusal of a body that is mostly sizes of chunks."""
    message = "The chunks of the body are too small, or their extensions too long."
    return Problem(413, "chunks_too_small", message)


def head_too_slow(limit_s: float) -> Problem:
    """The refusal of a head that did not come in time."""
    return Problem(408, "head_timeout", f"The headers did not arrive within {limit_s:g} s.")


def body_too_slow() -> Problem:
    """The refusal of a body that did not come in time."""
    return Problem(408, "body_timeout", "The body arrives too slowly.")


def no_room_for_body() -> Problem:
    """The refusal of a body while too many others are received."""
    message = "The server receives too many bodies at the moment."
    return Problem(503, "too_many_bodies", message, headers=_LATER)


def too_many_connections(limit: int) -> Problem:
    """The refusal of a connection from an address with many others."""
    message = f"The server accepts at most {limit} connections from one address."
    return Problem(503, "too_many_connections", message, headers=_LATER)


def too_many_pipelined(limit: int) -> Problem:
    """The reason why calls behind others are not read; no answer says so."""
    message = f"Send at most {limit} calls without waiting for their answers."
    return Problem(400, "too_many_pipelined", message)
