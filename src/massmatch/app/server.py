"""The server of the pages, on this machine alone: routes, and what goes wrong in words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from massmatch.app import bench
from massmatch.app.guard import TooLargeError, body, guards
from massmatch.errors import MassmatchError, UsageError

PAGES = Path(__file__).parent / "pages"
MOST_OF_A_QUESTION = 1 << 20  # bytes; a painted mask of 128 x 128 is at most 33 kB
HOST = "127.0.0.1"


def build() -> Starlette:
    """The application."""
    handlers: dict[Any, Any] = {MassmatchError: _in_words, TooLargeError: _in_words}
    return Starlette(routes=routes(), middleware=guards(), exception_handlers=handlers)


def routes() -> list[BaseRoute]:
    """Addresses and what answers them."""
    return [
        Route("/", lambda request: RedirectResponse("/bench")),
        Route("/bench", _page("bench.html")),
        Route("/api/losses", lambda request: JSONResponse(bench.catalogue())),
        Route("/api/presets", lambda request: JSONResponse(bench.presets())),
        Route("/api/bench", _bench, methods=["POST"]),
        Mount("/pages", StaticFiles(directory=PAGES)),
    ]


def _page(name: str) -> Callable[[Request], Response]:
    return lambda request: FileResponse(PAGES / name)


async def _bench(request: Request) -> Response:
    sent = await body(request, MOST_OF_A_QUESTION)
    try:
        asked = json.loads(sent)
    except (ValueError, RecursionError):
        raise UsageError("a question must be JSON") from None
    return JSONResponse(await run_in_threadpool(bench.answer, asked))


async def _in_words(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 413 if isinstance(error, TooLargeError) else 400)


def serve(port: int) -> None:
    """Answer until it is interrupted."""
    import uvicorn

    uvicorn.run(build(), host=HOST, port=port, log_level="warning", access_log=False)
