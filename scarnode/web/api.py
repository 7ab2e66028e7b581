"""The JSON API below /api: the same data as the pages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from scarnode.audit import subjects
from scarnode.ledger.queries import JobSummary
from scarnode.ledger.states import JobState
from scarnode.web import access
from scarnode.web.access import Admin, SharedState, Viewer
from scarnode.web.actions import ActionResult, ask
from scarnode.web.config_view import SectionView, view_settings
from scarnode.web.job_view import JobView, job_view
from scarnode.web.overview import Overview, overview
from scarnode.web.pictures import GoneError
from scarnode.web.queries import StudyRow, find_studies, job_parts, jobs_of
from scarnode.web.sessions import LONGEST_SECONDS, Session
from scarnode.web.study_status import StudyStatus, study_status

Number = Annotated[int, Path(ge=1, le=2**53)]
Responses = dict[int | str, dict[str, Any]]
PNG: Responses = {200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}}
GUARDED: Responses = {401: {"description": "Not logged in."}, 403: {"description": "Not allowed."}}
GONE: Responses = {404: {"description": "Not found, or removed from this machine."}}
REFUSED: Responses = {409: {"description": "The job's state does not allow it."}}


class Credentials(BaseModel):
    """Name and password of an account in [web] users."""

    name: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=1024)]


class Token(BaseModel):
    """A token, sent as ``Authorization: Bearer TOKEN``; it ends after half an hour without a request."""

    token: str
    seconds: float
    """Its longest lifetime, in seconds."""


class SearchQuery(BaseModel):
    """A search: accession number, patient ID, Study Instance UID, or the beginning of a patient's name."""

    words: Annotated[str, Field(min_length=1, max_length=200)]


def login_router() -> APIRouter:
    """Return the router of the log-in, the only request without one."""
    router = APIRouter(prefix=access.API, tags=["log-in"])

    @router.post("/login", responses={401: {"description": "Wrong."}, 429: {"description": "Too many wrong ones."}})
    async def log_in(credentials: Credentials, app_state: SharedState, request: Request) -> Token:
        """Log in by password."""
        try:
            address = access.address_of(request)
            token = await access.log_in_by_password(app_state, credentials.name, credentials.password, address)
        except access.RefusedError as refused:
            headers = {"Retry-After": str(refused.wait)} if refused.wait else {"WWW-Authenticate": "Bearer"}
            raise HTTPException(429 if refused.wait else 401, str(refused), headers) from None
        return Token(token=token, seconds=LONGEST_SECONDS)

    return router


def api_router() -> APIRouter:
    """Return the requests that need a log-in."""
    router = APIRouter(prefix=access.API, responses=GUARDED)

    @router.get("", include_in_schema=False)
    def schema(_session: Viewer, request: Request) -> JSONResponse:
        return JSONResponse(request.app.openapi())

    @router.get("/overview")
    def get_overview(_session: Viewer, app_state: SharedState) -> Overview:
        """State of the node, without patient data."""
        return overview(app_state)

    @router.get("/jobs")
    def get_jobs(
        session: Viewer,
        app_state: SharedState,
        state: JobState | None = None,
        before: Annotated[int, Query(ge=0, le=2**53, description="Older than this job.")] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> list[JobSummary]:
        """Jobs, newest first."""
        rows = jobs_of(app_state.ledger, None, state.value if state else "", before, limit)
        app_state.record_access(session, subjects(rows))
        return rows

    @router.get("/jobs/{job}", responses=GONE)
    def get_job(job: Number, session: Viewer, app_state: SharedState) -> JobView:
        """Return a job: state, numbers, flags, history and deliveries."""
        view = job_view(app_state, job)
        app_state.record_access(session, subjects([view.study]))
        return view

    @router.get("/jobs/{job}/slices/{index}.png", responses={**PNG, **GONE}, response_class=Response)
    def get_slice(
        job: Number,
        index: Annotated[int, Path(ge=0, le=100_000, description="Counted from 0 at the base.")],
        session: Viewer,
        app_state: SharedState,
        outlines: bool = True,
    ) -> Response:
        """Return a slice, with or without outlines, as PNG."""
        return picture(app_state, session, job, f"slice {index} {int(outlines)}")

    @router.get("/jobs/{job}/bullseye.png", responses={**PNG, **GONE}, response_class=Response)
    def get_bullseye(job: Number, session: Viewer, app_state: SharedState) -> Response:
        """Return the 17 segments as PNG."""
        return picture(app_state, session, job, "bullseye")

    @router.get("/jobs/{job}/page.png", responses={**PNG, **GONE}, response_class=Response)
    def get_page(job: Number, session: Viewer, app_state: SharedState) -> Response:
        """Return the report page as PNG."""
        return picture(app_state, session, job, "page")

    @router.post("/jobs/{job}/retry", responses={**GONE, **REFUSED})
    def retry(job: Number, session: Admin, app_state: SharedState) -> ActionResult:
        """Analyse a job without a result again; send the result of a job that has one."""
        return ask(app_state, session, job, "retry")

    @router.post("/jobs/{job}/hold", responses={**GONE, **REFUSED})
    def hold(job: Number, session: Admin, app_state: SharedState) -> ActionResult:
        """Stop sending."""
        return ask(app_state, session, job, "hold")

    @router.post("/jobs/{job}/cancel", responses={**GONE, **REFUSED})
    def cancel(job: Number, session: Admin, app_state: SharedState) -> ActionResult:
        """End a job for good."""
        return ask(app_state, session, job, "cancel")

    @router.post("/studies/search")
    def search(words: SearchQuery, session: Viewer, app_state: SharedState) -> list[StudyRow]:
        """Search for studies. By POST, because proxies log URLs."""
        rows = find_studies(app_state.ledger, words.words)
        app_state.record_access(session, subjects(rows))
        return rows

    @router.get("/studies/{study}", responses=GONE)
    def get_study(study: Number, session: Viewer, app_state: SharedState) -> StudyStatus:
        """Why a study has, or lacks, a result."""
        found = study_status(app_state.ledger, study, app_state.settings.study.quiet_seconds)
        app_state.record_access(session, subjects([found.study]))
        return found

    @router.get("/settings")
    def get_settings(_session: Admin, app_state: SharedState) -> list[SectionView]:
        """Return the settings as they were read, without secrets."""
        return view_settings(app_state.settings)

    return router


def picture(app_state: SharedState, session: Session, job: int, what: str) -> Response:
    """Return a picture of a job. The audit trail counts it as one access with the job's page.

    Parameters
    ----------
    what : str
        ``bullseye``, ``page``, or ``slice INDEX OUTLINED``.
    """
    parts = job_parts(app_state.ledger, job)
    if not session.was_recorded(parts.stack.study_instance_uid):
        app_state.record_access(session, subjects(jobs_of(app_state.ledger, [parts.study_id], limit=1)))
        session.mark_recorded(parts.stack.study_instance_uid)
    try:
        if what == "bullseye":
            drawn = app_state.pictures.bullseye(job, parts)
        elif what == "page":
            drawn = app_state.pictures.page(parts)
        else:
            index, outlined = map(int, what.split()[1:])
            drawn = app_state.pictures.slice(job, parts, index, bool(outlined))
    except GoneError as gone:
        raise HTTPException(404, f"Nothing to show: {gone}.") from None
    return Response(drawn, media_type="image/png")
