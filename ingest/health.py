"""`/healthz` and `/readyz`, for whatever watches over the process. Knows no callback."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from ingest.deposits import Deposits


def health_views(deposits: Deposits) -> Blueprint:
    """Make the two views."""
    views = Blueprint("health", __name__)

    @views.get("/healthz")
    def healthz() -> ResponseReturnValue:
        """Say that the process runs. To restart it would not bring Redis back."""
        return {"status": "ok"}

    @views.get("/readyz")
    def readyz() -> ResponseReturnValue:
        """Say whether callbacks become durable: in Redis, or on this machine's disk."""
        state = deposits.state()
        return {"status": state}, 503 if state == "unavailable" else 200

    return views
