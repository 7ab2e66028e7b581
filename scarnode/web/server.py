"""The web server: runs the web app in a thread of the node's process."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from scarnode.dicom.tls import server_context
from scarnode.util.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import APIRouter, FastAPI

    from scarnode.config import Settings
    from scarnode.ledger.ledger import Ledger

log = logging.getLogger(__name__)

STOP_SECONDS = 3.0
"""How long a stop waits for responses that are being written. The whole node stops within ten seconds."""


class WebServer:
    """Serves an app at the address of [web], from construction until `stop`.

    Parameters
    ----------
    app : fastapi.FastAPI
    settings : Settings
        Its sections [web] and [tls].

    Raises
    ------
    ConfigError
        The address can not be listened on, or the certificate not be used.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        import uvicorn

        from scarnode.web.guard import MAX_HEADER

        self._app = app
        self._socket = _listen(settings.web.host, settings.web.port)
        identity = settings.tls.identity() if settings.web.tls else None
        self._context = context = server_context(identity, None) if identity else None
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # URLs hold accession numbers
            log_level="warning",
            server_header=False,
            lifespan="on",
            ws="none",
            proxy_headers=bool(settings.web.proxy),
            forwarded_allow_ips=settings.web.proxy or None,
            h11_max_incomplete_event_size=MAX_HEADER,
            timeout_graceful_shutdown=2,
        )
        self._server = _make_server(config, self._socket, context, settings.web.proxy)
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        self._thread.start()
        scheme = "https" if context else "http"
        log.info("web pages at %s://%s", scheme, _written(settings.web.host, self.port))

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._socket.getsockname()[1]

    def reload_settings(self, settings: Settings) -> None:
        """Apply new settings from the next request on; of [web] those that need no restart.

        A renewed certificate is used from the next connection on.
        """
        identity = settings.tls.identity()
        if self._context is not None and identity is not None:
            self._context.load_cert_chain(identity.certificate, identity.private_key)
        app_state = getattr(self._app.state, "app_state", None)
        if app_state is not None:
            app_state.reload_settings(settings)

    def stop(self) -> None:
        """Stop within `STOP_SECONDS`: refuse new connections, and finish responses that are being written."""
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _make_server(
    config: uvicorn.Config, listening: socket.socket, context: ssl.SSLContext | None, proxy: str
) -> uvicorn.Server:
    """Return a server with limits on its connections. It checks whether to stop twice a second, not ten times."""
    import uvicorn

    from scarnode.web.connections import Acceptor, Connection, ConnectionSlot

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await self.lifespan.startup()
            if self.lifespan.should_exit:
                self.should_exit = True
                return

            def make(slot: ConnectionSlot, release: Callable[[ConnectionSlot], None]) -> Connection:
                return Connection(slot, config, self.server_state, self.lifespan.state, release)

            self._acceptor = Acceptor(listening, context, make, proxy)
            self._acceptor.start()
            self.servers = [self._acceptor]  # type: ignore[list-item]
            self.started = True

        async def main_loop(self) -> None:
            while not await self.on_tick(0):
                await asyncio.sleep(0.5)
                self._acceptor.sweep()

    return Server(config)


def _listen(host: str, port: int) -> socket.socket:
    """Open the port here: uvicorn would end the whole process where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio turns Nagle off only for these
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"the web's address {_written(host, port)} can not be listened on ({error.strerror})",
            "[web] host, port",
            "Choose another port, or port = 0 to serve nothing",
        ) from None
    return listener


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve_web(
    settings: Settings,
    ledger: Ledger,
    open_routers: Sequence[APIRouter] = (),
    engines: Callable[[], list[str]] = list,
) -> WebServer | None:
    """Start the web server of [web]; None where it serves nothing.

    Parameters
    ----------
    settings : Settings
    ledger, open_routers, engines
        As of `scarnode.web.app.make_app`.

    Raises
    ------
    ConfigError
        As of `WebServer`.
    """
    if not settings.web.port:
        return None
    from scarnode.web.app import make_app

    return WebServer(make_app(settings, ledger, open_routers, engines), settings)
