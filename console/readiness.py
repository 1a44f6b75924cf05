"""Whether what `rollcall up` needs is there, and whether what it started is ready. Bounded probes.

Each says in one sentence what to do where something is missing. Nothing is started or kept here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from celery.exceptions import CeleryError
from kombu import Connection
from kombu.exceptions import KombuError
from redis import RedisError

from schemas.connection import connect
from schemas.errors import StartError
from schemas.settings import Settings
from schemas.wakeups import EXPIRES_SECONDS, SWEEP, celery_config

_REDIS_SECONDS = 3.0
_BROKER_SECONDS = 3.0
_HTTP_SECONDS = 1.0
_LOOK_SECONDS = 0.1


def check_redis(settings: Settings) -> None:
    """Check that Redis answers.

    Raises:
        StartError: it does not.
    """
    try:
        with connect(settings, timeout=_REDIS_SECONDS) as client:
            client.ping()
    except RedisError as error:
        raise StartError(
            f"REDIS_URL: {_shown(settings.redis_url)} does not answer ({error}); start that Redis,"
            " or unset REDIS_URL and `rollcall up` starts an embedded one."
        ) from None


def check_broker(settings: Settings) -> None:
    """Check that the broker of the wake-ups answers, where it is not the Redis of the data.

    Raises:
        StartError: it does not.
    """
    url = settings.celery_broker_url
    if url == settings.redis_url:
        return
    config = celery_config(settings)
    bounds = {"socket_connect_timeout": _BROKER_SECONDS, "socket_timeout": _BROKER_SECONDS}
    options = {} if url.startswith("amqp") else config["broker_transport_options"] | bounds
    # What the options in the URL are wrong about is told as a ValueError or a TypeError.
    refusals: tuple[type[Exception], ...] = (KombuError, RedisError, ValueError, TypeError)
    connection = Connection(
        config["broker_url"],
        connect_timeout=_BROKER_SECONDS,
        transport_options=options,
        ssl=config.get("broker_use_ssl", False),
    )
    try:
        # Of the transport: the connection's own methods would try again after a while.
        transport = connection.transport
        transport.close_connection(transport.establish_connection())
    except (*connection.connection_errors, *refusals) as error:
        raise StartError(
            f"CELERY_BROKER_URL: {_shown(url)} does not answer ({error}); start that broker, or"
            " unset CELERY_BROKER_URL and REDIS_URL carries the wake-ups."
        ) from None
    finally:
        connection.release()


def _shown(url: str) -> str:
    """Show a URL without what stands before the @ or behind the path: it may be a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def wait_until(
    ready: Callable[[], bool], what: str, log: Path, deadline: float, check: Callable[[], bool]
) -> bool:
    """Ask again and again whether something is ready; tell whether it became so.

    Args:
        ready: the question.
        what: for the message.
        log: of the process that is waited for, likewise.
        deadline: on the monotonic clock.
        check: asked in between: whether to go on waiting.

    Raises:
        StartError: the deadline passed.
    """
    while check():
        if ready():
            return True
        if time.monotonic() > deadline:
            raise StartError(f"{what} in time; {log} says why.")
        time.sleep(_LOOK_SECONDS)
    return False


def answers(port: int, path: str) -> bool:
    """Tell whether the process that listens on a port answers 200 there."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_HTTP_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


class WorkerProbe:
    """One wake-up of its own, sent to see it taken: an honest sign that a worker listens."""

    def __init__(self, settings: Settings) -> None:
        self._app = Celery("probe", set_as_current=False)
        self._app.conf.update(celery_config(settings))
        self._queue = str(self._app.conf.task_default_queue)
        self._sent = False

    def taken(self) -> bool:
        """Tell whether the wake-ups are being taken from the broker; sends one at first."""
        try:
            if not self._sent:
                self._app.send_task(SWEEP, expires=EXPIRES_SECONDS)
                self._sent = True
            return self._waiting() == 0
        except (OSError, CeleryError, KombuError):
            return False

    def close(self) -> None:
        self._app.close()

    def _waiting(self) -> int:
        with self._app.connection_for_read() as connection:
            try:
                channel: Any = connection.default_channel
                declared = channel.queue_declare(self._queue, passive=True)
            except connection.channel_errors:
                # On Redis a queue is a list, and an empty list does not exist.
                return 0
            return int(declared.message_count)
