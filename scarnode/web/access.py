"""Log-in, log-out and access control of the web app."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import quote

from anyio.to_thread import run_sync
from fastapi import Depends, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from scarnode.config.accounts import NAME, NOBODY, Role
from scarnode.ledger.actions import tell_forbidden
from scarnode.web.app_state import AppState
from scarnode.web.links import drop_old_codes, link_folder, use_code
from scarnode.web.sessions import LONGEST_SECONDS, Session
from scarnode.web.throttle import BUSY_SECONDS, network_of

API = "/api"
MOST_WAITING = 50
"""Most passwords that may wait to be checked. One check takes 0.1 s."""
_bearer = HTTPBearer(auto_error=False, description="The token that POST /api/login returns.")
_LOCAL = re.compile(r"/(?![/\\])[A-Za-z0-9/_.-]*")


class LogInError(HTTPException):
    """Nobody is logged in. Pages redirect to the log-in, the API answers 401."""

    def __init__(self) -> None:
        super().__init__(401, "Log in first.", {"WWW-Authenticate": "Bearer"})


class RefusedError(Exception):
    """A refused log-in, with the seconds until the next attempt is allowed; 0: at once."""

    def __init__(self, wait: int) -> None:
        self.wait = wait
        super().__init__(f"Too many wrong log-ins: wait {wait} s." if wait else "Wrong name or password.")


def app_state_of(request: Request) -> AppState:
    """Return the state of the app."""
    return request.app.state.app_state


def viewer(request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Session:
    """Return the request's session, or raise 401 where nobody is logged in."""
    session = find_session(request, bearer.credentials if bearer else "")
    if session is None:
        raise LogInError
    return session


def admin(session: Annotated[Session, Depends(viewer)], request: Request) -> Session:
    """Return an administrator's session, or raise 403.

    A refused change goes to the audit trail.
    """
    if session.role is not Role.ADMIN:
        job, action = request.path_params.get("job", ""), request.url.path.rpartition("/")[2]
        if job.isdecimal():
            app_state = app_state_of(request)
            tell_forbidden(app_state.ledger, int(job), action, app_state.trail, app_state.person(session))
        raise HTTPException(403, "Only an administrator may do that.")
    return session


SharedState = Annotated[AppState, Depends(app_state_of)]
Viewer = Annotated[Session, Depends(viewer)]
Admin = Annotated[Session, Depends(admin)]


def find_session(request: Request, token: str = "") -> Session | None:
    """Return the session of a token, else of the request's cookie."""
    app_state = app_state_of(request)
    token = token or request.cookies.get(cookie_name(app_state), "")
    # a page that renews itself must not keep the session alive
    renews = request.headers.get("x-scarnode-renews") == "1"
    return app_state.sessions.find(token, click=not renews) if token else None


def cookie_name(app_state: AppState) -> str:
    """Return the cookie's name. With the prefix __Host- a browser sends it to this host only, and by https only."""
    return "__Host-scarnode" if app_state.settings.web.secure else "scarnode"


def address_of(request: Request) -> str:
    """Return where a request came from."""
    return request.client.host if request.client else ""


async def log_in_by_password(app_state: AppState, name: str, password: str, address: str) -> str:
    """Check a password and return a session token. An unknown name takes as long as a known one.

    Raises
    ------
    RefusedError
    """
    known = name if NAME.fullmatch(name) else "(invalid name)"  # some type their password there
    counted = (("name", known), ("address", network_of(address)))
    threads, users = app_state.password_threads, app_state.settings.web.users
    if threads.statistics().tasks_waiting >= MOST_WAITING:
        raise RefusedError(BUSY_SECONDS)
    if wait := app_state.throttle.begin(counted, [("name", user.name) for user in users]):
        raise RefusedError(wait)
    account = next((one for one in users if one.name == name), NOBODY)
    right = False
    try:
        right = await run_sync(account.knows, password, limiter=threads) and account is not NOBODY
    finally:
        app_state.throttle.end(counted, right)
    await run_sync(app_state.record_login, known, address, right, limiter=threads)
    if not right:
        raise RefusedError(0)
    return app_state.sessions.open(name, account.role, address)


async def log_in_by_code(app_state: AppState, code: str, address: str) -> str:
    """Use a code of `scarnode web login` and return a session token.

    A valid code always works, however many wrong ones were tried: 256 bits can not be guessed. Wrong codes are counted
    only to limit the work that they cause.

    Raises
    ------
    RefusedError
    """
    return await run_sync(_log_in_by_code, app_state, code, address, limiter=app_state.code_threads)


def _log_in_by_code(app_state: AppState, code: str, address: str) -> str:
    folder = link_folder(app_state.settings)
    name = use_code(folder, code)
    if name is not None:
        app_state.record_login(name, address, ok=True)
        return app_state.sessions.open(name, Role.ADMIN, address)
    counted = (("code", network_of(address)),)
    if wait := app_state.throttle.begin(counted):
        raise RefusedError(wait)
    app_state.throttle.end(counted, right=False)
    drop_old_codes(folder)
    app_state.record_login("(code)", address, ok=False)
    raise RefusedError(0)


def set_cookie(answer: Response, app_state: AppState, token: str) -> None:
    """Set the browser's session cookie; an empty token deletes it."""
    answer.set_cookie(
        cookie_name(app_state),
        token,
        max_age=int(LONGEST_SECONDS) if token else 0,
        httponly=True,
        samesite="strict",
        secure=app_state.settings.web.secure,
        path="/",
    )


def local_path(path: str) -> str:
    """Return a path to redirect to, if it is one of this app; else that of the dashboard."""
    return path if _LOCAL.fullmatch(path) else "/"


def login_address(request: Request) -> str:
    """Return the URL of the log-in, which then redirects to the requested page."""
    path = request.url.path
    return f"/login?next={quote(path)}" if request.method == "GET" and path != "/" else "/login"
