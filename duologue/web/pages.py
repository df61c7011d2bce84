"""The page at `/` and its files, from `web/static`. No template, no build step, nothing from elsewhere."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from duologue.errors import NotFound
from duologue.web.hub import Hub
from duologue.web.security import check_host

__all__ = ["STATIC_DIRECTORY", "page_routes"]

STATIC_DIRECTORY = Path(__file__).parent / "static"

# Asked for again each time and answered with 304 when unchanged: after an update there is no old script.
_CACHE = {"cache-control": "no-cache"}


class _Files(StaticFiles):
    """Static files with one rule for caches."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(_CACHE)
        return response


def page_routes(hub: Hub) -> list[Route | Mount]:
    """The page and its files. The page holds no secret and asks for the token itself."""

    async def page(request: Request) -> Response:
        if not hub.authority.required:
            check_host(request.scope["headers"], allowed=hub.allowed_origins)
        path = STATIC_DIRECTORY / "index.html"
        if not path.is_file():
            raise NotFound("this installation has no page")
        return FileResponse(path, headers=_CACHE)

    return [
        Route("/", page),
        Mount("/static", _Files(directory=STATIC_DIRECTORY, check_dir=False), name="static"),
    ]
