"""Pure: where the secrets of a run are found."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

_AROUND = 120


@dataclass(frozen=True)
class Hit:
    """A secret, where it was found, and the text around it."""

    secret: str
    place: str
    around: str

    def __str__(self) -> str:
        return f"{self.secret} in {self.place}: {self.around!r}"


def search(secrets: Mapping[str, str], places: Mapping[str, bytes]) -> list[Hit]:
    """The first hit of each secret in each place, in whatever form the secret is written."""
    hits = []
    for place, data in places.items():
        for name, secret in secrets.items():
            for form in forms_of(secret):
                if (at := data.find(form)) >= 0:
                    around = data[max(0, at - _AROUND) : at + len(form) + _AROUND]
                    hits.append(Hit(name, place, around.decode(errors="replace")))
                    break
    return hits


def forms_of(secret: str) -> Iterable[bytes]:
    """The secret as it is, percent-encoded, and within base64 at each of the three offsets."""
    data = secret.encode()
    yield data
    yield quote(secret, safe="").encode()
    for shift in range(3):
        # The first and the last characters depend on what stands beside the secret.
        whole = base64.b64encode(b"\0" * shift + data).rstrip(b"=")
        yield whole[4 if shift else 0 : -4]
