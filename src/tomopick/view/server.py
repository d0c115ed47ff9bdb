"""The page's server: on loopback, behind a secret in the address, and nothing but what the page needs."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tomopick.errors import DataError, reason
from tomopick.view.desk import Desk
from tomopick.view.scene import LOOPBACK

__all__ = ["page_of", "serve"]

PAGE = {
    "": ("panel.html", "text/html"),
    "panel.js": ("panel.js", "text/javascript"),
    "panel.css": ("panel.css", "text/css"),
}
"""The page's own files, by address."""

POLICY = "default-src 'self'; img-src 'self' data:; frame-src http://localhost:*"
"""The page loads nothing from elsewhere; the viewer in its frame has another port."""

Answer = Callable[[Mapping[str, Any]], Response]


def page_of(desk: Desk) -> Starlette:
    """The application: every address starts with the desk's token, and answers 403 with any other."""

    def guarded(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            if not secrets.compare_digest(request.path_params["token"].encode(), desk.token.encode()):
                return PlainTextResponse("wrong token", 403)
            try:
                asked = await request.json() if request.method == "POST" else request.path_params
                return await run_in_threadpool(answer, asked)
            except DataError as error:
                return JSONResponse({"error": str(error)}, 404 if request.method == "GET" else 400)
            except json.JSONDecodeError:
                return JSONResponse({"error": "not JSON"}, 400)

        return checked

    def picture(asked: Mapping[str, Any]) -> Response:
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(desk.picture(asked["index"]), media_type="image/png", headers=headers)

    def route(path: str, answer: Answer, method: str = "GET") -> Route:
        return Route("/{token}" + path, guarded(answer), methods=[method])

    routes = [
        route("/", lambda asked: _file("")),
        route("/api/start", lambda asked: JSONResponse(desk.to_json())),
        route("/api/picks", lambda asked: JSONResponse(desk.picks_json())),
        route("/api/revision", lambda asked: JSONResponse({"revision": desk.review.revision, "run": desk.run})),
        route("/api/tile/{index:int}.png", picture),
        route("/api/act", lambda asked: JSONResponse(desk.act(asked)), "POST"),
        route("/{name:path}", lambda asked: _file(asked["name"])),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=routes, middleware=[hosts])


def _file(name: str) -> Response:
    """One of the page's own files; there are no others."""
    if name not in PAGE:
        return PlainTextResponse("not found", 404)
    file, kind = PAGE[name]
    text = (files("tomopick.view") / file).read_text(encoding="utf-8")
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response(text, media_type=kind, headers=headers)


def serve(desk: Desk, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page on loopback until a keyboard interrupt.

    Args:
        desk: what it shows.
        port: 0 for any that is free.
        ready: called with the page's address once it answers.

    Raises:
        DataError: the port is taken.
    """
    try:
        listening = socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise DataError(f"cannot serve on port {port}: {reason(error)}; choose another --port") from error
    ready(f"http://{LOOPBACK}:{listening.getsockname()[1]}/{desk.token}/")
    server = uvicorn.Server(uvicorn.Config(page_of(desk), log_level="warning", timeout_graceful_shutdown=1))
    with listening, suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
