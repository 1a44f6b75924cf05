"""`/healthz` and `/readyz`, for whatever watches over the process. Knows no callback."""

from __future__ import annotations

import structlog
from flask import Blueprint
from flask.typing import ResponseReturnValue

from ingest.inbox import Inbox
from schemas.errors import StartError, UnavailableError

_log = structlog.get_logger(__name__)


def health_views(inbox: Inbox) -> Blueprint:
    """Make the two views."""
    views = Blueprint("health", __name__)

    @views.get("/healthz")
    def healthz() -> ResponseReturnValue:
        """Say that the process runs. To restart it would not bring Redis back."""
        return {"status": "ok"}

    @views.get("/readyz")
    def readyz() -> ResponseReturnValue:
        """Say whether callbacks become durable."""
        try:
            inbox.check()
        except UnavailableError as error:
            return {"status": error.reason}, error.status
        except StartError as error:
            # Redis was away when this process started, so it could not be refused then.
            _log.error("shards_differ", reason=error.reason, error=str(error))
            return {"status": UnavailableError.reason}, UnavailableError.status
        return {"status": "ready"}

    return views
