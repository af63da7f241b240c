"""The chunked transfer coding of HTTP/1.1, RFC 9112 section 7.1."""

LAST_CHUNK = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    """A body as one chunk; no bytes for an empty body, because an empty chunk ends the message."""
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b""
