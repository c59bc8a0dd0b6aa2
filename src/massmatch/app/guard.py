"""What keeps the pages to this machine and to themselves: hosts, headers, origins, and the size of what is sent."""

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost")  # another name in the header is a page of a stranger that points here
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # mammograms stay out of the browser's cache
}


class TooLargeError(Exception):
    """More was sent than is taken."""


class OwnPagesOnly:
    """Adds the headers to every answer, and refuses what another site's page sends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        request = Request(scope)
        origin = request.headers.get("origin")
        if origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host')}":
            refusal = JSONResponse({"error": "pages of other sites are not answered"}, 403)
            return await refusal(scope, receive, with_headers)
        await self.app(scope, receive, with_headers)


def guards() -> list[Middleware]:
    """The middleware, the outermost first."""
    return [Middleware(OwnPagesOnly), Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)]


async def body(request: Request, most: int) -> bytes:
    """What was sent, of at most so many bytes. Raises TooLargeError before it holds more."""
    got = bytearray()
    async for chunk in request.stream():
        got += chunk
        if len(got) > most:
            raise TooLargeError(f"at most {most / 1e6:g} MB are taken")
    return bytes(got)
