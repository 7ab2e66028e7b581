"""Checks of every request before it reaches the app, and the security headers of every response."""

from __future__ import annotations

import ipaddress
import logging
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scarnode.config import WebSection

log = logging.getLogger(__name__)

MAX_HEADER = 32 << 10
"""Bytes of a request's header. A browser also sends the cookies of other services on this host."""
MAX_BODY = 64 << 10
"""Bytes: forms and requests are short."""
SAFE = ("GET", "HEAD", "OPTIONS")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware: checks host name, proxy, size and origin of a request, and adds headers to the response.

    Parameters
    ----------
    app : ASGI app
    section : WebSection
    public : frozenset of str
        Paths that anybody may request, also past the proxy: metrics and health.
    """

    def __init__(self, app: ASGIApp, section: WebSection, public: frozenset[str] = frozenset()) -> None:
        self._app, self._section, self._public = app, section, public
        ours = {"localhost", socket.gethostname().lower(), socket.getfqdn().lower() if section.secure else ""}
        self._names = (ours | set(section.names)) - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if self._section.secure:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        body = _Body(receive)
        try:
            await self._app(scope, body.receive, send_with_headers)
        except Exception as error:
            log.exception("a fault of the web pages (%s)", type(error).__name__)
            if begun:
                raise
            await _refuse(500, "Internal error of scarnode: see its log, and report it.")(
                scope, receive, send_with_headers
            )

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEADER:
            return _refuse(431, "The header of the request is too large.")
        host = headers.get("host", "")
        # a health check by HTTP/1.0 has no Host header
        if not self._is_ours(host) and (host or scope["path"] not in self._public):
            return _refuse(400, "Not this node's name: add it to [web] names.")
        client = (scope.get("client") or ("",))[0]
        if self._section.proxy and scope["path"] not in self._public and not self._came_right(client, scope):
            return _refuse(403, "Ask the reverse proxy of [web] proxy, by https.")
        if scope["method"] not in SAFE and not _same_origin(headers, scope["scheme"], host):
            return _refuse(403, "A change must come from a page of this node.")
        return None

    def _is_ours(self, host: str) -> bool:
        """Return whether a Host header names this node. This stops DNS rebinding; a plain IP address is no risk."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _is_address(name)

    def _came_right(self, client: str, scope: Scope) -> bool:
        """Return whether a request came by TLS through the proxy, whose headers uvicorn has applied, or from here."""
        return scope["scheme"] == "https" or (_is_address(client) and ipaddress.ip_address(client).is_loopback)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _same_origin(headers: Headers, scheme: str, host: str) -> bool:
    """Return whether a request comes from a page of this node: a page can not choose its Origin header.

    A request with a bearer token passes: no browser sends one on its own.
    """
    if headers.get("authorization", "").lower().startswith("bearer "):
        return True
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is not None:
        return origin.lower() == f"{scheme}://{host}".lower()
    return site is not None


def _refuse(status: int, why: str) -> PlainTextResponse:
    return PlainTextResponse(why + "\n", status)


class _Body:
    """Counts the bytes of a request."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._size = receive, 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY:
            raise HTTPException(413, "The request is too large.")
        return message
