"""The web app: its parts put together. Every part is a router; what a part needs, `Desk` holds."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI

from scarnode import RESEARCH_USE, __version__
from scarnode.config import Settings
from scarnode.jobs import Ledger


def make_app(settings: Settings, ledger: Ledger, open_routers: Sequence[APIRouter] = ()) -> FastAPI:
    """Build the app that `scarnode.web.WebServer` serves.

    Parameters
    ----------
    settings : Settings
    ledger : Ledger
        One of the web's own: its connections are not the node's. It is asked by readers that wait for nobody, and
        written only where a person presses a button.
    open_routers : sequence of fastapi.APIRouter
        Answered without a log-in: metrics and health. They must hold no patient data.

    Returns
    -------
    fastapi.FastAPI
    """
    app = FastAPI(
        title="scarnode", version=__version__, description=RESEARCH_USE, openapi_url=None, docs_url=None, redoc_url=None
    )
    for router in open_routers:
        app.include_router(router)
    return app
