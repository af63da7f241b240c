"""An identity provider: it signs tokens, and serves its public keys over HTTP."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

ISSUER, AUDIENCE = "https://id.example", "tickertape"


class Issuer:
    """Signs with its newest key. `reads` counts how often its public keys were read."""

    def __init__(self) -> None:
        self.keys: dict[str, RSAPrivateKey] = {}
        self.reads = 0
        self.is_down = False
        self.url = ""
        self.rotate("first")

    def rotate(self, key_id: str) -> None:
        """Sign with a new key, and keep the public keys of the earlier ones."""
        self.keys[key_id] = generate_private_key(public_exponent=65537, key_size=2048)

    def token(self, user: str | None = "ann", tenant: str = "acme", **claims: Any) -> str:
        """A token of a user; a claim of None is left out."""
        key_id, key = [*self.keys.items()][-1]
        now_s = int(time.time())
        given = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": user, "tenant": tenant,
            "iat": now_s, "exp": now_s + 600, **claims,
        }  # fmt: skip
        payload = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(payload, key, algorithm="RS256", headers={"kid": key_id})

    def jwks(self) -> bytes:
        """The public keys."""
        keys = [
            {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": key_id}
            for key_id, key in self.keys.items()
        ]
        return json.dumps({"keys": keys}).encode()


@contextlib.contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Serve the public keys of a new issuer."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.reads += 1
            body = issuer.jwks()
            self.send_response(503 if issuer.is_down else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}/keys"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
