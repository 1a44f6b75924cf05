"""The processes `worker` and `beat`, until SIGTERM. They wait for Redis, and say so."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import structlog
from celery.signals import setup_logging
from redis import AuthenticationError, Redis, RedisError

from schemas.connection import claim_shards, connect
from schemas.errors import StartError
from schemas.keys import Keyspace
from schemas.logs import Lines, configure_logs
from schemas.settings import Settings
from workers.app import create_app
from workers.notify.delivery import AT_ONCE

# A worker waits this long for any answer: longer than Redis takes for a large batch, shorter than
# the lease, so that a shard is not another worker's before this one has given up.
_TIMEOUT_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_SAY_SECONDS = 10.0

log = structlog.get_logger()


def work(settings: Settings) -> None:
    """Run a worker: as many drains at once as there are cores, and no more than shards."""
    lines = _log_as("worker")
    redis = _wait_for_redis(settings)
    # A delivery holds a process while it waits for somebody else's server (decision 0014).
    deliveries = min(len(settings.alert_targets), AT_ONCE)
    concurrency = min(os.cpu_count() or 1, settings.shards) + deliveries
    app = create_app(settings, redis, lines)
    options = ["--quiet", "worker", "--loglevel=INFO", f"--concurrency={concurrency}"]
    # These three only chat with other workers, and have been seen to hang reconnecting ones.
    options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(options)


def beat(settings: Settings) -> None:
    """Run beat, which has the shards swept every second."""
    lines = _log_as("beat")
    redis = _wait_for_redis(settings)
    app = create_app(settings, redis, lines)
    app.start(["--quiet", "beat", "--loglevel=INFO"])


def _log_as(process: str) -> Lines:
    # Celery prints a sentence of its own here and there; on standard output it would fall between
    # the audit lines, or into one.
    lines = Lines(os.dup(1))
    os.dup2(2, 1)
    configure_logs(lines, process)
    # A line a wake-up, received and succeeded, would drown the audit.
    for chatty in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
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
            claim_shards(redis, Keyspace(settings.prefix), settings.shards)
        except AuthenticationError as error:
            raise StartError(f"REDIS_URL: Redis refuses the password: {error}") from error
        except RedisError as error:
            if time.monotonic() - said >= _SAY_SECONDS:
                said = time.monotonic()
                log.warning("waiting_for_redis", error=type(error).__name__)
            time.sleep(_RETRY_SECONDS)
        else:
            return redis
