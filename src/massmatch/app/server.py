"""The server of the pages, on this machine alone: routes, and what goes wrong in words."""

import json
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from massmatch.app import bench, images
from massmatch.app.guard import TooLargeError, body, guards
from massmatch.app.reading import Reading, threshold_of
from massmatch.data import Cohort
from massmatch.errors import MassmatchError, UsageError
from massmatch.inference.packaged import PACKAGED

PAGES = Path(__file__).parent / "pages"
MOST_OF_A_QUESTION = 1 << 20  # bytes; a painted mask of 128 x 128 is at most 33 kB
MOST_OF_A_FILE = 256 << 20  # bytes; a mammogram of 13 million pixels has 27 million
HOST = "127.0.0.1"


def build(weights: Sequence[Path] = (PACKAGED,), modality: str = "MG", cohort: Cohort | None = None) -> Starlette:
    """The application. `weights` (several are an ensemble) and `modality` as in `inference.batch.predict`.

    `cohort`: whose images the loss bench shows.
    """
    reading = Reading(weights, modality)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        reading.close()

    handlers: dict[Any, Any] = {MassmatchError: _in_words, TooLargeError: _in_words, ClientDisconnect: _unheard}
    handlers[OSError] = _of_the_machine
    routes = [
        Route("/", lambda request: RedirectResponse("/bench")),
        Route("/bench", _page("bench.html")),
        Route("/read", _page("read.html")),
        Route("/api/losses", lambda request: JSONResponse(bench.catalogue())),
        Route("/api/presets", lambda request: JSONResponse(bench.presets())),
        Route("/api/bench", _bench, methods=["POST"]),
        *_of_cohort(cohort, reading),
        *_of_images(reading),
        Mount("/pages", StaticFiles(directory=PAGES)),
    ]
    return Starlette(routes=routes, middleware=guards(), exception_handlers=handlers, lifespan=lifespan)


def _page(name: str) -> Callable[[Request], Response]:
    return lambda request: FileResponse(PAGES / name)


async def _bench(request: Request) -> Response:
    sent = await body(request, MOST_OF_A_QUESTION)
    try:
        asked = json.loads(sent)
    except (ValueError, RecursionError):
        raise UsageError("a question must be JSON") from None
    return JSONResponse(await run_in_threadpool(bench.answer, asked))


def _of_cohort(cohort: Cohort | None, reading: Reading) -> list[BaseRoute]:
    """What the loss bench asks of a cohort, in threads of Starlette's as the functions below."""

    def image(request: Request) -> Response:
        return JSONResponse(images.shown(cohort, reading, request.path_params["number"]))

    return [
        Route("/api/cohort", lambda request: JSONResponse(images.listed(cohort))),
        Route("/api/cohort/{number:int}", image),
    ]


def _of_images(reading: Reading) -> list[BaseRoute]:
    """What the page "Read" asks for. Starlette runs the functions that are not async in threads of their own."""

    async def take(request: Request) -> Response:
        data = await body(request, MOST_OF_A_FILE)
        return JSONResponse(await run_in_threadpool(reading.take, request.query_params.get("name", ""), data))

    def pixels(request: Request) -> Response:
        return Response(reading.pixels(request.path_params["id"]), media_type="application/octet-stream")

    def findings(request: Request) -> Response:
        return JSONResponse(reading.findings(request.path_params["id"], _threshold(request)))

    def download(request: Request) -> Response:
        name, data = reading.download(request.path_params["id"], request.path_params["kind"], _threshold(request))
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
        return Response(data, media_type="application/octet-stream", headers=headers)

    return [
        Route("/api/images", take, methods=["POST"]),
        Route("/api/images/{id}/pixels", pixels),
        Route("/api/images/{id}/findings", findings),
        Route("/api/images/{id}/files/{kind}", download),
    ]


def _threshold(request: Request) -> float:
    return threshold_of(request.query_params.get("threshold", ""))


async def _in_words(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 413 if isinstance(error, TooLargeError) else 400)


async def _of_the_machine(request: Request, error: OSError) -> Response:
    """Tell of a full disk, as a rule: images are held among the temporary files."""
    return JSONResponse({"error": f"{error.filename or tempfile.gettempdir()}: {error.strerror or error}"}, 500)


async def _unheard(request: Request, error: Exception) -> Response:
    """What nobody hears: the page was left while its file was sent, which is no fault."""
    return Response(status_code=400)


def refuse_taken(port: int) -> None:
    """Raise UsageError for a port on which another program answers, such as another `massmatch app`."""
    with socket.socket() as probe:
        probe.settimeout(5)
        if probe.connect_ex((HOST, port)) == 0:
            raise UsageError(f"--port: must be free, but another program answers on {port}: give another, or end it")


def serve(port: int, weights: Sequence[Path], modality: str, cohort: Cohort | None) -> None:
    """Answer until it is interrupted."""
    import uvicorn

    uvicorn.run(build(weights, modality, cohort), host=HOST, port=port, log_level="warning", access_log=False)
