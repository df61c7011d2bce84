"""Duologue inside your own web application, under a path of yours.

    uvicorn examples.mounted:app --port 8000

and open http://127.0.0.1:8000/tutor/
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import duologue


async def home(_: Request) -> PlainTextResponse:
    """A page of your own."""
    return PlainTextResponse("The tutor is at /tutor/\n")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Run dialogues for as long as the application runs."""
    settings = duologue.load_settings(overrides={"store": {"data_dir": "./.duologue/mounted"}})
    async with duologue.open_runtime(settings) as runtime:
        app.router.routes.append(Mount("/tutor", duologue.create_app(runtime)))
        yield


app = Starlette(routes=[Route("/", home)], lifespan=lifespan)
