"""The web page and the JavaScript client: files that are read once. No other file is served."""

import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from fastapi import Request, Response
from starlette.routing import Route

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
# The build puts a hash of the content into these names, so a browser asks for such a file once.
_HASHED_NAME = re.compile(r"-[0-9A-Z]{8}\.js$")
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


def load_page() -> dict[str, PageFile]:
    """The files of the page and of the JavaScript client by URL path."""
    served = {_PAGES.get(name, f"/{name}"): body for name, body in _read("tickertape.api.page")}
    for name, body in _read("tickertape.client", "javascript"):
        served[_CLIENT + name] = body
    for name in _UNVERSIONED:
        served[f"/{name}"] = f"export * from '.{_CLIENT}{name}'\n".encode()
    files_by_path = {path: _file(path, body, _compressed(body)) for path, body in served.items()}
    assets = dict(_read("tickertape.api.page", _ASSETS))
    for name, body in assets.items():
        if (path := f"/{_ASSETS}/{name}").endswith(".gz"):
            continue
        # Compressed at the build, because the largest takes a tenth of a second.
        files_by_path[path] = _file(path, body, assets.get(f"{name}.gz") or _compressed(body))
    return files_by_path


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
    is_fixed = _HASHED_NAME.search(path)
    headers = {
        "Content-Type": _media_type(path),
        # Browsers revalidate all others (usually 304), so they never mix files of two versions.
        "Cache-Control": "public, max-age=31536000, immutable" if is_fixed else "no-cache",
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return PageFile(body, gzipped, headers)


def page_routes(page: dict[str, PageFile]) -> list[Route]:
    """A route for each of these files. The OpenAPI document does not show them."""
    return [Route(path, _shows(file), include_in_schema=False) for path, file in page.items()]


def _shows(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        wants_gzip = "gzip" in request.headers.get("accept-encoding", "")
        body, headers = (
            (file.gzipped, file.gzip_headers) if wants_gzip else (file.body, file.headers)
        )
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers)

    return show
