"""The web page and the JavaScript client: files that are read once. No other file is served."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response

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
}
# The page shows text of models and of other users. Therefore no inline script runs, and no other
# origin is fetched from, sent to, or allowed to frame the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class PageFile:
    """A file of the page, with its response headers."""

    body: bytes
    headers: dict[str, str]


def load_page() -> dict[str, PageFile]:
    """The files of the page and of the JavaScript client by URL path."""
    served = {_PAGES.get(name, f"/{name}"): body for name, body in _read("tickertape.api.page")}
    for name, body in _read("tickertape.api.page", _ASSETS):
        served[f"/{_ASSETS}/{name}"] = body
    for name, body in _read("tickertape.client", "javascript"):
        served[_CLIENT + name] = body
    for name in _UNVERSIONED:
        served[f"/{name}"] = f"export * from '.{_CLIENT}{name}'\n".encode()
    return {path: _file(body, _media_type(path)) for path, body in served.items()}


def _read(package: str, *folder: str) -> Iterator[tuple[str, bytes]]:
    place = files(package).joinpath(*folder)
    for entry in place.iterdir() if place.is_dir() else ():
        if _suffix(entry.name) in _MEDIA_TYPES:
            yield entry.name, entry.read_bytes()


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]


def _media_type(path: str) -> str:
    return _MEDIA_TYPES[".html" if path in _PAGES.values() else _suffix(path)]


def _file(body: bytes, media_type: str) -> PageFile:
    headers = {
        "Content-Type": media_type,
        # Browsers revalidate each file (usually 304), so they never mix files of two versions.
        "Cache-Control": "no-cache",
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return PageFile(body, headers)


def page_router(page: dict[str, PageFile]) -> APIRouter:
    """Routes for these files only."""
    router = APIRouter(include_in_schema=False)

    async def show(request: Request) -> Response:
        file = page[request.scope["route"].path]
        if file.headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=file.headers)
        return Response(file.body, headers=file.headers)

    for path in page:
        router.add_api_route(path, show, methods=["GET", "HEAD"])
    return router
