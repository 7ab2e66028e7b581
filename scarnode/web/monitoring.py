"""/metrics, /healthz and /readyz: answered without a log-in, without patient data, without asking the ledger."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST


def monitoring_router(
    metrics: Callable[[], bytes], why_not_ready: Callable[[], list[str]], ledger_trouble: Callable[[], str] = str
) -> APIRouter:
    """Build the router.

    Parameters
    ----------
    metrics : callable
        Returns the metrics in Prometheus' text format.
    why_not_ready : callable
        Returns the reasons why the node can not work now; empty where it can.
    ledger_trouble : callable
        Returns what is wrong with the ledger's files; empty where they are in place.
    """
    router = APIRouter(tags=["monitoring"])

    @cache
    def threads() -> CapacityLimiter:
        """Return threads of their own, so that monitoring is answered while all threads of the pages are busy."""
        return CapacityLimiter(2)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def get_metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(await run_sync(metrics, limiter=threads()), media_type=CONTENT_TYPE_LATEST)

    @router.get("/healthz", response_class=PlainTextResponse, responses={503: {"description": "The ledger is gone"}})
    async def get_healthz() -> PlainTextResponse:
        """Answer 200 while the process runs; 503 where its ledger was deleted or replaced: a person must act."""
        trouble = await run_sync(ledger_trouble, limiter=threads())
        return PlainTextResponse(f"{trouble or 'ok'}\n", 503 if trouble else 200)

    @router.get("/readyz", response_class=PlainTextResponse, responses={503: {"description": "One reason a line"}})
    async def get_readyz() -> PlainTextResponse:
        """Answer 200 while images can be received and analysed, else 503 with the reasons."""
        reasons = await run_sync(why_not_ready, limiter=threads())
        return PlainTextResponse("\n".join(reasons or ["ok"]) + "\n", 503 if reasons else 200)

    return router
