"""The processes `worker` and `beat`, until SIGTERM. They wait for Redis, and say so."""

from __future__ import annotations

import gc
import logging
import os
import time
from typing import Any

import structlog
from celery.signals import setup_logging
from redis import AuthenticationError, Redis, RedisError

from schemas.audit import HASHED
from schemas.connection import claim_shards, connect, keyspace_of
from schemas.errors import StartError
from schemas.logs import Lines, configure_logs, hear_everything
from schemas.settings import Settings
from schemas.terminal import lines_to
from workers import safety
from workers.app import create_app, drains_of
from workers.mending import mend_libraries
from workers.notify.delivery import AT_ONCE

# A worker waits this long for any answer: longer than Redis takes for a large batch, and shorter
# than the lease. Where an ask had to wait for another one first, the shard may be another worker's
# by then: then nothing is committed.
_TIMEOUT_SECONDS = 2.0
_RETRY_SECONDS = 0.5
# Objects: more than are in use at a time, since a batch puts its records away one by one, so that
# they are hardly ever looked at in vain. What broke off is looked for at once.
_COLLECT_AFTER = 250_000
_SAY_SECONDS = 10.0

log = structlog.get_logger()


def work(settings: Settings) -> None:
    """Run a worker: as many drains at once as there are cores, and no more than shards."""
    settings.require_identity_key()
    lines = _log_as("worker", settings)
    mend_libraries()
    redis = _wait_for_redis(settings)
    safety.look(redis, wait_replicas=settings.wait_replicas)
    # A delivery holds a process while it waits for somebody else's server (decision 0014).
    deliveries = min(len(settings.alert_targets), AT_ONCE)
    concurrency = drains_of(settings) + deliveries
    app = create_app(settings, redis, lines)
    collect_seldom()
    options = ["--quiet", "worker", "--loglevel=INFO", f"--concurrency={concurrency}"]
    # These three only chat with other workers, and have been seen to hang reconnecting ones.
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(options)


def collect_seldom() -> None:
    """Have Python look for garbage in cycles less often, for the rest of this process.

    Facts are trees without cycles, made and dropped by the thousand: a collector that looks at them
    every 700 objects takes a tenth of the time and finds nothing.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def beat(settings: Settings) -> None:
    """Run beat, which sweeps the shards every second."""
    lines = _log_as("beat", settings)
    redis = _wait_for_redis(settings)
    app = create_app(settings, redis, lines)
    app.start(["--quiet", "beat", "--loglevel=INFO"])


def _log_as(process: str, settings: Settings) -> Lines:
    # Celery prints a sentence of its own here and there; on standard output it would fall between
    # the audit lines, or into one.
    lines = lines_to(os.dup(1))
    os.dup2(2, 1)
    configure_logs(lines, process, hide_names=settings.audit_identity == HASHED)
    hear_everything()
    # A line a wake-up, received and succeeded, would drown the audit.
    chatter = ("celery.worker.strategy", "celery.worker.request", "celery.app.trace", "celery.beat")
    for chatty in chatter:
        logging.getLogger(chatty).setLevel(logging.WARNING)

    @setup_logging.connect(weak=False)
    def keep_ours(**_: Any) -> None:
        """Celery sets up no logging of its own where somebody listens to this signal."""

    return lines


def _wait_for_redis(settings: Settings) -> Redis:
    """Wait until REDIS_URL answers, and make sure that all processes count the same shards."""
    redis = connect(settings, timeout=_TIMEOUT_SECONDS)
    said = -_SAY_SECONDS
    while True:
        try:
            claim_shards(redis, keyspace_of(settings), settings.shards)
        except AuthenticationError as error:
            raise StartError(f"REDIS_URL: Redis refuses the password: {error}") from error
        except RedisError as error:
            if time.monotonic() - said >= _SAY_SECONDS:
                said = time.monotonic()
                log.warning("waiting_for_redis", error=type(error).__name__)
            time.sleep(_RETRY_SECONDS)
        else:
            return redis
