"""The pages. Each reads its data from another package and fills in a template."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from scarnode.audit import subjects
from scarnode.config.accounts import Role
from scarnode.ledger.states import FINAL, JobState
from scarnode.pipeline.measure.model import EXTENSIVE
from scarnode.pipeline.report import codes
from scarnode.web import access
from scarnode.web.access import Admin, SharedState, Viewer
from scarnode.web.actions import ask
from scarnode.web.api import Number, picture
from scarnode.web.app_state import AppState
from scarnode.web.config_view import view_settings
from scarnode.web.job_view import JobView, job_view
from scarnode.web.overview import overview
from scarnode.web.queries import find_studies, jobs_of, studies_of, unreadable_of
from scarnode.web.render import page
from scarnode.web.sessions import Session
from scarnode.web.study_status import study_status

PER_PAGE = 50
SEGMENT_NAMES = tuple(
    code.meaning.lower().removeprefix("left ventricle ").removesuffix(" segment") for code in codes.AHA_SEGMENTS
)
Key = Annotated[str, Query(max_length=32)]
Code = Annotated[str, Query(max_length=64)]


def login_pages() -> APIRouter:
    """Return the pages that need no log-in."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    def login_form(
        request: Request, to: Annotated[str, Query(alias="next", max_length=200)] = "/", code: Code = ""
    ) -> Response:
        return _login_page(request, to, code)

    @router.post("/login")
    async def log_in(
        request: Request,
        app_state: SharedState,
        name: Annotated[str, Form(max_length=64)] = "",
        password: Annotated[str, Form(max_length=1024)] = "",
        code: Annotated[str, Form(max_length=64)] = "",
        to: Annotated[str, Form(alias="next", max_length=200)] = "/",
    ) -> Response:
        address = access.address_of(request)
        try:
            if code:
                token = await access.log_in_by_code(app_state, code, address)
            else:
                token = await access.log_in_by_password(app_state, name, password, address)
        except access.RefusedError as refused:
            says = str(refused)
            if code and not refused.wait:
                says = "This address was used already, or is too old. Make another: scarnode web login"
            return _login_page(request, to, "", says, 429 if refused.wait else 401)
        answer = _go(access.local_path(to))
        access.set_cookie(answer, app_state, token)
        return answer

    @router.post("/logout")
    def log_out(request: Request, app_state: SharedState) -> Response:
        token = request.cookies.get(access.cookie_name(app_state), "")
        session = app_state.sessions.find(token)
        if session is not None:
            app_state.sessions.close(token)
            app_state.record_login(session.name, session.address, ok=True, out=True)
        answer = _go("/login")
        access.set_cookie(answer, app_state, "")
        return answer

    return router


def page_router() -> APIRouter:
    """Return the pages that need a log-in."""
    router = APIRouter(include_in_schema=False)
    _dashboard(router)
    _jobs(router)
    _job(router)
    _studies(router)
    _about(router)
    return router


def _dashboard(router: APIRouter) -> None:
    @router.get("/")
    def dashboard(request: Request, session: Viewer, app_state: SharedState) -> Response:
        return page(request, "dashboard.html", session, seen=overview(app_state))

    @router.get("/dashboard/part")
    def dashboard_part(request: Request, session: Viewer, app_state: SharedState) -> Response:
        return page(request, "dashboard_part.html", session, seen=overview(app_state))

    @router.get("/dashboard/news")
    def dashboard_news(request: Request, session: Viewer, app_state: SharedState) -> Response:
        return page(request, "dashboard_news.html", session, seen=overview(app_state))


def _jobs(router: APIRouter) -> None:
    @router.post("/find")
    def find(
        session: Viewer,
        app_state: SharedState,
        to: Annotated[Literal["jobs", "studies"], Form()],
        words: Annotated[str, Form(max_length=200)] = "",
        state: Annotated[JobState | Literal[""], Form()] = "",
    ) -> Response:
        """Store the search with the session: in a URL it would end up in the logs of proxies."""
        words = words.strip()
        if to == "studies" and words:
            found = find_studies(app_state.ledger, words)
            if len(found) == 1:
                return _go(f"/studies/{found[0].id}")
        given = {"find": session.store_search(words) if words else "", "state": JobState(state).value if state else ""}
        return _go(f"/{to}", **given)

    @router.get("/jobs")
    def jobs(
        request: Request,
        session: Viewer,
        app_state: SharedState,
        state: JobState | Literal[""] = "",
        find: Key = "",
        before: Annotated[int, Query(ge=0, le=2**53)] = 0,
    ) -> Response:
        sought = session.searches.get(find, "")
        studies = [study.id for study in find_studies(app_state.ledger, sought)] if sought else None
        wanted = JobState(state).value if state else ""
        rows = jobs_of(app_state.ledger, studies, wanted, before, PER_PAGE + 1)
        more, rows = len(rows) > PER_PAGE, rows[:PER_PAGE]
        app_state.record_access(session, subjects(rows))
        given = {"find": find if sought else "", "state": wanted}
        owners = studies_of(app_state.ledger, [row.job for row in rows])
        return page(
            request,
            "jobs.html",
            session,
            rows=rows,
            state=wanted,
            states=[one.value for one in JobState],
            sought=sought,
            before=before,
            first=_address("/jobs", **given),
            older=_address("/jobs", before=str(rows[-1].job), **given) if more else "",
            synthetic={job: app_state.pictures.synthetic(study, app_state.ledger) for job, study in owners.items()},
        )


def _job(router: APIRouter) -> None:
    @router.get("/jobs/{job}")
    def job_page(request: Request, job: Number, session: Viewer, app_state: SharedState) -> Response:
        view = _view_job(app_state, session, job)
        return page(
            request,
            "job.html",
            session,
            extensive=f"{EXTENSIVE:.0f}",
            segment_names=SEGMENT_NAMES,
            **_job_values(session, view),
        )

    @router.get("/jobs/{job}/part")
    def job_part(request: Request, job: Number, session: Viewer, app_state: SharedState) -> Response:
        return page(
            request, "job_part.html", session, **_job_values(session, _view_job(app_state, session, job, anew=False))
        )

    @router.get("/jobs/{job}/slices/{index}-outlined.png")
    def outlined_slice(job: Number, index: int, session: Viewer, app_state: SharedState) -> Response:
        return picture(app_state, session, job, f"slice {index} 1")

    @router.get("/jobs/{job}/slices/{index}.png")
    def plain_slice(job: Number, index: int, session: Viewer, app_state: SharedState) -> Response:
        return picture(app_state, session, job, f"slice {index} 0")

    @router.get("/jobs/{job}/bullseye.png")
    def bullseye(job: Number, session: Viewer, app_state: SharedState) -> Response:
        return picture(app_state, session, job, "bullseye")

    @router.get("/jobs/{job}/page.png")
    def report_page(job: Number, session: Viewer, app_state: SharedState) -> Response:
        return picture(app_state, session, job, "page")

    @router.post("/jobs/{job}/{action}")
    def act(
        job: Number, action: Literal["retry", "hold", "cancel"], session: Admin, app_state: SharedState
    ) -> Response:
        try:
            result = ask(app_state, session, job, action)
            session.flash = f"Asked. The job is {result.state}: {result.says}."
        except HTTPException as refused:
            session.flash = f"Not done. {refused.detail}"
        return _go(f"/jobs/{job}")


def _studies(router: APIRouter) -> None:
    @router.get("/studies")
    def studies(request: Request, session: Viewer, app_state: SharedState, find: Key = "") -> Response:
        sought = session.searches.get(find, "")
        found = find_studies(app_state.ledger, sought)
        app_state.record_access(session, subjects(found))
        return page(
            request,
            "studies.html",
            session,
            sought=sought,
            studies=found,
            lost=unreadable_of(app_state.ledger, None),
            port=app_state.settings.node.port,
        )

    @router.get("/studies/{study}")
    def study_page(request: Request, study: Number, session: Viewer, app_state: SharedState) -> Response:
        result_status = study_status(app_state.ledger, study, app_state.settings.study.quiet_seconds)
        app_state.record_access(session, subjects([result_status.study]))
        synthetic = app_state.pictures.synthetic(study, app_state.ledger)
        quiet = app_state.settings.study.quiet_seconds
        return page(
            request, "study.html", session, result_status=result_status, synthetic=synthetic, quiet_seconds=quiet
        )


def _about(router: APIRouter) -> None:
    @router.get("/settings")
    def settings_page(request: Request, session: Admin, app_state: SharedState) -> Response:
        return page(request, "settings.html", session, sections=view_settings(app_state.settings))

    @router.get("/help/api")
    def api_page(request: Request, session: Viewer) -> Response:
        rows = [
            {
                "method": method.upper(),
                "path": path,
                "returns": operation.get("description", operation.get("summary", "")),
            }
            for path, methods in request.app.openapi()["paths"].items()
            for method, operation in methods.items()
        ]
        return page(request, "api.html", session, requests=rows)


def _view_job(app_state: AppState, session: Session, job: int, anew: bool = True) -> JobView:
    """Return a job's page and record the access. A page that renews itself is recorded once."""
    view = job_view(app_state, job)
    if anew or not session.was_recorded(view.study.study_instance_uid):
        app_state.record_access(session, subjects([view.study]))
        session.mark_recorded(view.study.study_instance_uid)
    return view


def _job_values(session: Session, view: JobView) -> dict[str, Any]:
    moving = view.job.state not in FINAL
    return {"view": view, "may_act": session.role is Role.ADMIN, "moving": moving}


def _login_page(request: Request, to: str, code: str, trouble: str = "", status: int = 200) -> Response:
    return page(request, "login.html", None, status, next=access.local_path(to), code=code, trouble=trouble)


def _address(path: str, **given: str) -> str:
    query = urlencode({key: value for key, value in given.items() if value})
    return f"{path}?{query}" if query else path


def _go(path: str, **given: str) -> RedirectResponse:
    return RedirectResponse(_address(path, **given), 303)
