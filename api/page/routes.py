"""The web page: files of the package that are read once. No other file is served."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response

INDEX = "index.html"
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
    """The page's files by URL path."""
    loaded = {}
    for entry in sorted((files("tickertape.api.page")).iterdir(), key=lambda file: file.name):
        media_type = _MEDIA_TYPES.get("." + entry.name.rpartition(".")[2])
        if media_type is not None:
            path = "/" if entry.name == INDEX else f"/{entry.name}"
            loaded[path] = _file(entry.read_bytes(), media_type)
    return loaded


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
