"""The web app: its parts put together. Every part is a router; what they share, `AppState` holds."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as AnyHTTPException

from scarnode import RESEARCH_USE, __version__
from scarnode.config import Settings
from scarnode.ledger.ledger import Ledger
from scarnode.util.errors import ScarnodeError
from scarnode.web import access
from scarnode.web.api import api_router, login_router
from scarnode.web.app_state import AppState
from scarnode.web.guard import Guard
from scarnode.web.pages import login_pages, page_router
from scarnode.web.pictures import Pictures
from scarnode.web.queries import NotFoundError
from scarnode.web.render import FOLDER, page

log = logging.getLogger(__name__)

THREADS = 8
"""Requests that are handled at a time. The node's own work shares the process."""

PARTS = (login_router, api_router, login_pages, page_router)
"""The app's routers that need a log-in."""

HEADINGS = {
    403: "Not allowed",
    404: "Not found",
    405: "Not possible",
    409: "Not possible",
    422: "Invalid request",
    503: "Not possible now",
}


def make_app(
    settings: Settings,
    ledger: Ledger,
    open_routers: Sequence[APIRouter] = (),
    engines: Callable[[], list[str]] = list,
) -> FastAPI:
    """Build the app that `scarnode.web.WebServer` serves.

    Parameters
    ----------
    settings : Settings
    ledger : Ledger
        The node's own: a process opens its ledger once. Pages only read it, without locks; actions of a user write it.
    open_routers : sequence of fastapi.APIRouter
        Routers without a log-in: metrics and health. They must hold no patient data.
    engines : callable
        Returns a description of the device of each worker.

    Returns
    -------
    fastapi.FastAPI
    """

    @asynccontextmanager
    async def live(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield

    app = FastAPI(
        title="scarnode",
        version=__version__,
        description=RESEARCH_USE,
        openapi_url=None,
        docs_url=None,  # FastAPI's own pages load scripts from other servers
        redoc_url=None,
        lifespan=live,
    )
    pictures = Pictures(settings.spool.path, settings.results.path)
    app.state.app_state = AppState(settings, ledger, settings.audit_trail(), pictures, engines)
    for router in open_routers:
        app.include_router(router)
    for part in PARTS:
        app.include_router(part())
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    public = frozenset(route.path for router in open_routers for route in router.routes)  # type: ignore[attr-defined]
    app.add_middleware(Guard, section=settings.web, public=public)
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(NotFoundError, _not_found)
    app.add_exception_handler(ScarnodeError, _unavailable)
    app.add_exception_handler(SQLAlchemyError, _unavailable)
    return app


def _refused(request: Request, error: Exception) -> Response:
    """Answer a refused request: the API with JSON, a page with a page, or with the log-in where that is missing."""
    if isinstance(error, access.LogInError) and not _is_api(request):
        return RedirectResponse(access.login_address(request), 303)
    refusal = cast(AnyHTTPException, error)
    return _error_answer(request, refusal.status_code, str(refusal.detail), dict(refusal.headers or {}))


def _not_found(request: Request, error: Exception) -> Response:
    """Answer 404: the ledger has no such job or study."""
    return _error_answer(request, 404, str(error))


def _invalid_request(request: Request, error: Exception) -> Response:
    """Answer what is wrong with a request. The values are left out: they may be patient data."""
    if _is_api(request):
        errors = cast(RequestValidationError, error).errors()
        faults = [{key: fault[key] for key in ("type", "loc", "msg")} for fault in errors]
        return JSONResponse({"detail": faults}, 422)
    return _error_answer(request, 404 if request.method == "GET" else 422, "There is no such page.")


def _unavailable(request: Request, error: Exception) -> Response:
    """Answer 503: the ledger or the audit trail is not available."""
    log.error("a page could not be made (%s)", type(error).__name__)
    text = str(error) if isinstance(error, ScarnodeError) else "The ledger can not be read or written now."
    return _error_answer(request, 503, text)


def _error_answer(request: Request, status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    if _is_api(request):
        return JSONResponse({"detail": text}, status, headers)
    heading = HEADINGS.get(status, "Not possible")
    answer = page(request, "error.html", access.find_session(request), status, heading=heading, message=text)
    answer.headers.update(headers or {})
    return answer


def _is_api(request: Request) -> bool:
    path = request.url.path
    return path == access.API or path.startswith(access.API + "/")
