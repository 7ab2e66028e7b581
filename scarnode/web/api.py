"""The same as the pages, as JSON below /api."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from scarnode.audit import subjects
from scarnode.ledger.queries import JobSummary
from scarnode.ledger.tables import JobState
from scarnode.web import access
from scarnode.web.access import Admin, DeskOf, Viewer
from scarnode.web.actions import Asked, ask
from scarnode.web.config_view import SectionView, shown_settings
from scarnode.web.job_view import JobStory, tell_story
from scarnode.web.overview import Overview, overview
from scarnode.web.pictures import GoneError
from scarnode.web.queries import StudyRow, find_studies, job_parts, jobs_of
from scarnode.web.sessions import LONGEST_SECONDS, Session
from scarnode.web.study_status import Explanation, explain

Number = Annotated[int, Path(ge=1, le=2**53)]
Responses = dict[int | str, dict[str, Any]]
PNG: Responses = {200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}}
GUARDED: Responses = {401: {"description": "Not logged in."}, 403: {"description": "Not allowed."}}
GONE: Responses = {404: {"description": "There is none, or it was removed from this machine."}}
REFUSED: Responses = {409: {"description": "The job's state does not allow it."}}


class Credentials(BaseModel):
    """Name and password of a line of [web] users."""

    name: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=1024)]


class Token(BaseModel):
    """A token, sent as ``Authorization: Bearer TOKEN``; it ends after half an hour without a request."""

    token: str
    seconds: float
    """The longest that it lasts."""


class Words(BaseModel):
    """What to search for: accession number, patient ID, Study Instance UID, or how a patient's name begins."""

    words: Annotated[str, Field(min_length=1, max_length=200)]


def login_router() -> APIRouter:
    """Return the one request that needs no log-in."""
    router = APIRouter(prefix=access.API, tags=["log-in"])

    @router.post("/login", responses={401: {"description": "Wrong."}, 429: {"description": "Too many wrong ones."}})
    async def log_in(credentials: Credentials, app_state: DeskOf, request: Request) -> Token:
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
    """Return the requests, each of which needs a log-in."""
    router = APIRouter(prefix=access.API, responses=GUARDED)

    @router.get("", include_in_schema=False)
    def schema(_session: Viewer, request: Request) -> JSONResponse:
        return JSONResponse(request.app.openapi())

    @router.get("/overview")
    def get_overview(_session: Viewer, app_state: DeskOf) -> Overview:
        """How the node does; no patient data."""
        return overview(app_state)

    @router.get("/jobs")
    def get_jobs(
        session: Viewer,
        app_state: DeskOf,
        state: JobState | None = None,
        before: Annotated[int, Query(ge=0, le=2**53, description="Older than this job.")] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> list[JobSummary]:
        """Jobs, newest first."""
        rows = jobs_of(app_state.ledger, None, state.value if state else "", before, limit)
        app_state.record_access(session, subjects(rows))
        return rows

    @router.get("/jobs/{job}", responses=GONE)
    def get_job(job: Number, session: Viewer, app_state: DeskOf) -> JobStory:
        """Everything there is to say of a job."""
        story = tell_story(app_state, job)
        app_state.record_access(session, subjects([story.study]))
        return story

    @router.get("/jobs/{job}/slices/{index}.png", responses={**PNG, **GONE}, response_class=Response)
    def get_slice(
        job: Number,
        index: Annotated[int, Path(ge=0, le=100_000, description="Counted from 0 at the base.")],
        session: Viewer,
        app_state: DeskOf,
        outlines: bool = True,
    ) -> Response:
        """Return a slice, with outlines or without."""
        return picture(app_state, session, job, f"slice {index} {int(outlines)}")

    @router.get("/jobs/{job}/bullseye.png", responses={**PNG, **GONE}, response_class=Response)
    def get_bullseye(job: Number, session: Viewer, app_state: DeskOf) -> Response:
        """Return the 17 segments."""
        return picture(app_state, session, job, "bullseye")

    @router.get("/jobs/{job}/page.png", responses={**PNG, **GONE}, response_class=Response)
    def get_page(job: Number, session: Viewer, app_state: DeskOf) -> Response:
        """Return the report page."""
        return picture(app_state, session, job, "page")

    @router.post("/jobs/{job}/retry", responses={**GONE, **REFUSED})
    def retry(job: Number, session: Admin, app_state: DeskOf) -> Asked:
        """Analyse again what has no result; send what has one (release, send again)."""
        return ask(app_state, session, job, "retry")

    @router.post("/jobs/{job}/hold", responses={**GONE, **REFUSED})
    def hold(job: Number, session: Admin, app_state: DeskOf) -> Asked:
        """Stop sending."""
        return ask(app_state, session, job, "hold")

    @router.post("/jobs/{job}/cancel", responses={**GONE, **REFUSED})
    def cancel(job: Number, session: Admin, app_state: DeskOf) -> Asked:
        """End a job for good."""
        return ask(app_state, session, job, "cancel")

    @router.post("/studies/search")
    def search(words: Words, session: Viewer, app_state: DeskOf) -> list[StudyRow]:
        """Studies by what a person knows of them; not by GET, for addresses end up in logs."""
        rows = find_studies(app_state.ledger, words.words)
        app_state.record_access(session, subjects(rows))
        return rows

    @router.get("/studies/{study}", responses=GONE)
    def get_study(study: Number, session: Viewer, app_state: DeskOf) -> Explanation:
        """Why a study has, or lacks, a result."""
        found = explain(app_state.ledger, study, app_state.settings.study.quiet_seconds)
        app_state.record_access(session, subjects([found.study]))
        return found

    @router.get("/settings")
    def get_settings(_session: Admin, app_state: DeskOf) -> list[SectionView]:
        """config.ini as it was read, without its secrets."""
        return shown_settings(app_state.settings)

    return router


def picture(app_state: DeskOf, session: Session, job: int, what: str) -> Response:
    """Return a picture of a job; with its page it is one view for the audit repository.

    Parameters
    ----------
    what : str
        ``bullseye``, ``page``, or ``slice INDEX OUTLINED``.
    """
    parts = job_parts(app_state.ledger, job)
    if not session.was_told(parts.stack.study_instance_uid):
        app_state.record_access(session, subjects(jobs_of(app_state.ledger, [parts.study_id], limit=1)))
        session.mark_notified(parts.stack.study_instance_uid)
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
