"""Rendering of templates: what every page holds, and how numbers, times and sizes are formatted."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scarnode import RESEARCH_USE, __version__
from scarnode.config.accounts import Role
from scarnode.util.clock import span
from scarnode.web.access import app_state_of
from scarnode.web.queries import split_flags
from scarnode.web.sessions import Session
from scarnode.web.study_status import age

FOLDER = Path(__file__).parent
NAVIGATION = (("/", "Dashboard"), ("/jobs", "Jobs"), ("/studies", "Why no result?"), ("/help/api", "API"))
FOR_ADMINS = (("/settings", "Settings"),)


def _bytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _dicom_date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()


_environment = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_environment.filters.update(
    age=age,
    bytes=_bytes,
    clock=lambda seconds: _moment(seconds).strftime("%Y-%m-%d %H:%M:%S"),
    decimal=lambda value, digits: f"{value:.{digits}f}",
    dicom_date=_dicom_date,
    span=span,
    iso=lambda seconds: _moment(seconds).isoformat(timespec="seconds"),
    split=split_flags,
)


def page(request: Request, template: str, session: Session | None, status: int = 200, **values: object) -> HTMLResponse:
    """Fill in a template.

    Parameters
    ----------
    request : Request
    template : str
        File name.
    session : Session or None
        The user's session.
    status : int
    **values : object
        Variables of the template.
    """
    flash = ""
    if session is not None and not template.endswith(("_part.html", "_news.html")):
        flash, session.flash = session.flash, ""
    text = _environment.get_template(template).render(
        ae_title=app_state_of(request).settings.node.ae_title,
        flash=flash,
        here=request.url.path,
        navigation=NAVIGATION + (FOR_ADMINS if session is not None and session.role is Role.ADMIN else ()),
        research_use=RESEARCH_USE,
        session=session,
        version=__version__,
        zone=time.strftime("%Z"),
        **values,
    )
    return HTMLResponse(text, status)
