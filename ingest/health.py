"""`/healthz` and `/readyz`, for whatever watches over the process. Knows no callback."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from ingest.inbox import Inbox
from schemas.errors import UnavailableError


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
            inbox.ping()
        except UnavailableError as error:
            return {"status": error.reason}, error.status
        return {"status": "ready"}

    return views
