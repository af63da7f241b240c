"""The files of the web page and of the JavaScript client, read once, and their headers."""

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

# The pages that have an address without the name of their file.
_PAGES = {"index.html": "/", "status.html": "/status", "docs.html": "/docs"}
# The files of other people's packages, which the build puts there. A checkout may lack them.
_ASSETS = "assets"
# The number grows with a change that breaks pages that import the client from here.
_CLIENT = "/client/v1/"
# The addresses of the client before it had a version. Pages elsewhere may import from them.
_UNVERSIONED = ("client.js", "calls.js", "fold.js", "streams.js")
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",  # the types of the client, for people and their tools
    ".txt": "text/plain; charset=utf-8",
}
# The build puts a hash of the content into these names.
_HASHED_NAME = re.compile(r"-[0-9A-Z]{8}\.js$")
# The scripts and styles, once more under a hash of all of them: /files/0123456789ab/page.js.
FILES = "/files/"
_REFERENCE = re.compile(rb'(src|href)="\./([\w./-]+\.(?:js|css))"')
# Browsers ask for such a file once, and revalidate all others at every use (usually 304).
_KEPT, _REVALIDATED = "public, max-age=31536000, immutable", "no-cache"
# The page shows text of models and of other users. Therefore no inline script runs, and no other
# origin is fetched from, sent to, or allowed to frame the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


@dataclass(frozen=True)
class PageFile:
    """A file of the page, as it is and compressed, with its response headers."""

    body: bytes
    gzipped: bytes
    headers: dict[str, str]

    @property
    def gzip_headers(self) -> dict[str, str]:
        """The headers of the compressed form, whose entity tag differs."""
        etag = f'{self.headers["ETag"][:-1]}-gzip"'
        return {**self.headers, "Content-Encoding": "gzip", "ETag": etag}


@dataclass(frozen=True)
class ServedPage:
    """The files by URL path. `version` is a hash of all scripts and styles."""

    files: Mapping[str, PageFile]
    version: str

    def find(self, path: str) -> PageFile | None:
        """The file at a path, or None.

        While processes of two versions serve, a page of one may get modules from the other. A
        browser keeps only files of the version that it asked for.
        """
        if (file := self.files.get(path)) or not path.startswith(FILES):
            return file
        version, _, name = path.removeprefix(FILES).partition("/")
        file = None if f"/{name}" in _PAGES.values() else self.files.get(f"/{name}")
        if file is None or version != self.version:
            return file
        return replace(file, headers={**file.headers, "Cache-Control": _KEPT})


def load_page() -> ServedPage:
    """Read the files. The pages name their scripts and styles under their version."""
    bodies = {f"/{name}": body for name, body in _read("tickertape.api.page")}
    for name, body in _read("tickertape.client", "javascript"):
        bodies[_CLIENT + name] = body
    for name in _UNVERSIONED:
        bodies[f"/{name}"] = f"export * from '.{_CLIENT}{name}'\n".encode()
    for name, body in _read("tickertape.api.page", _ASSETS):
        bodies[f"/{_ASSETS}/{name}"] = body
    pages = {path: bodies.pop(f"/{name}") for name, path in _PAGES.items()}
    digests = (f"{path} {_hash(body)} " for path, body in sorted(bodies.items()))
    version = _hash("".join(digests).encode())[:12]
    folder = f".{FILES}{version}/".encode()
    for path, body in pages.items():
        bodies[path] = _REFERENCE.sub(rb'\1="' + folder + rb'\2"', body)
    files = {
        # The build compresses assets, because the largest takes a tenth of a second.
        path: _file(path, body, bodies.get(f"{path}.gz") or _compressed(body))
        for path, body in bodies.items()
        if not path.endswith(".gz")
    }
    return ServedPage(files, version)


def _read(package: str, *folder: str) -> Iterator[tuple[str, bytes]]:
    place = files(package).joinpath(*folder)
    for entry in place.iterdir() if place.is_dir() else ():
        if _suffix(entry.name.removesuffix(".gz")) in _MEDIA_TYPES:
            yield entry.name, entry.read_bytes()


@lru_cache(maxsize=256)
def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]


def _media_type(path: str) -> str:
    return _MEDIA_TYPES[".html" if path in _PAGES.values() else _suffix(path)]


def _file(path: str, body: bytes, gzipped: bytes) -> PageFile:
    headers = {
        "Content-Type": _media_type(path),
        "Cache-Control": _KEPT if _HASHED_NAME.search(path) else _REVALIDATED,
        "ETag": f'"{_hash(body)[:32]}"',
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return PageFile(body, gzipped, headers)


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
