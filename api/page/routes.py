"""The routes of the web page and of the JavaScript client. No other file is served."""

from fastapi import HTTPException, Request, Response
from starlette.routing import Route

from tickertape.api.page.files import FILES, ServedPage


def page_routes(page: ServedPage) -> list[Route]:
    """A route for each file, and one for all versions. The OpenAPI document shows none."""

    async def show(request: Request) -> Response:
        file = page.find(request.scope["path"])
        if file is None:
            raise HTTPException(404)
        wants_gzip = "gzip" in request.headers.get("accept-encoding", "")
        body, headers = (
            (file.gzipped, file.gzip_headers) if wants_gzip else (file.body, file.headers)
        )
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers)

    paths = [*page.files, FILES + "{name:path}"]
    return [Route(path, show, include_in_schema=False) for path in paths]
