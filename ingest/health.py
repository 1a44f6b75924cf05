"""`/healthz` and `/readyz`, for whatever watches over the process. Knows no callback."""

from __future__ import annotations

from contextlib import suppress

from flask import Blueprint
from flask.typing import ResponseReturnValue

from ingest.deposits import Deposits
from ingest.inbox import Inbox
from schemas.errors import UnavailableError


def health_views(deposits: Deposits, inbox: Inbox, stalled_seconds: int) -> Blueprint:
    """Make the two views.

    Args:
        deposits: tell whether callbacks become durable.
        inbox: tells how long they wait for a worker.
        stalled_seconds: for how long they may.
    """
    views = Blueprint("health", __name__)

    @views.get("/healthz")
    def healthz() -> ResponseReturnValue:
        """Say that the process runs. To restart it would not bring Redis back."""
        return {"status": "ok"}

    @views.get("/readyz")
    def readyz() -> ResponseReturnValue:
        """Say whether callbacks become durable: in Redis, or on this machine's disk."""
        state = deposits.state()
        told: dict[str, str] = {"status": state}
        if deposits.redis_answers():
            # Not a reason for 503: the door is ready, and it is the workers who are not. They are
            # judged by what they leave undone, since one that answers a ping may be deaf.
            with suppress(UnavailableError):
                waits = inbox.backlog().oldest_seconds
                told["inbox"] = "flowing" if waits < stalled_seconds else "stalled"
        return told, 503 if state == "unavailable" else 200

    return views
