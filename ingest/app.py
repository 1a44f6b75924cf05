"""The composition root of the web process: every collaborator is made or handed in here."""

from __future__ import annotations

import gc

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from ingest.callbacks import MAX_BODY_BYTES, PATH, CallbackDoor, register_callbacks
from ingest.deposits import Deposits
from ingest.door import Door
from ingest.doorbell import Bell, open_doorbell
from ingest.gateway import Gateway
from ingest.health import health_views
from ingest.inbox import Inbox, open_inbox
from ingest.log_thread import LogThread
from ingest.metrics import AskedNow, MeasuredDeposits, Metrics, forget_dead_processes, metrics_views
from ingest.openapi import openapi_views
from ingest.orphan import end_with_parent
from ingest.problems import register_problems
from ingest.spool import Spool
from ingest.spool_folder import spool_folder
from schemas.audit import HASHED
from schemas.logs import Lines, configure_logs
from schemas.settings import Settings


def create_app(
    settings: Settings, *, inbox: Inbox | None = None, doorbell: Bell | None = None
) -> Flask:
    """Make the application. Nothing is sent to Redis or to the broker yet.

    Args:
        settings: must hold an auth token.
        inbox: where callbacks are deposited; by default the one that the settings name.
        doorbell: who wakes the workers; by default the one that the settings name.

    Raises:
        BadSettingError: there is no auth token.
    """
    settings.require_tokens()
    inbox = inbox or open_inbox(settings)
    doorbell = doorbell or open_doorbell(settings)
    spool = Spool(spool_folder(settings), settings.spool_max_bytes)
    metrics = Metrics()
    seconds = settings.deposit_timeout_ms / 1000
    deposits = MeasuredDeposits(inbox, spool, doorbell, metrics, seconds=seconds)

    app = Door("ingest")
    register_callbacks(app, CallbackDoor(settings, deposits))
    app.register_blueprint(health_views(deposits, inbox, settings.stalled_seconds))
    app.register_blueprint(metrics_views(metrics, AskedNow(deposits, inbox)))
    app.register_blueprint(openapi_views())
    register_problems(app)
    app.extensions["deposits"] = deposits
    hops = settings.trusted_proxies
    if hops:
        # Without a proxy, anybody could write these headers.
        fixed = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)
        app.wsgi_app = fixed  # type: ignore[method-assign]  # Flask's own way to add one
    return app


def from_environment() -> Gateway:
    """Make the application of a web process, as Granian asks for it in each of its workers."""
    settings = Settings.from_environment()
    log = LogThread(Lines(1))
    configure_logs(log, "web", hide_names=settings.audit_identity == HASHED)
    end_with_parent()
    forget_dead_processes()
    app = create_app(settings)
    deposits: Deposits = app.extensions["deposits"]
    deposits.start()
    # What is there by now stays, and need not be looked through again for what can be thrown away.
    gc.freeze()

    def stop() -> None:
        # What lies in the spool is found by the next process; to close it tidily saves that the
        # work.
        deposits.stop()
        log.stop()

    # One byte more lets the view see that a chunked body, which tells no length, is too long.
    return Gateway(app, MAX_BODY_BYTES + 1, on_loop=(PATH,), stop=stop)
