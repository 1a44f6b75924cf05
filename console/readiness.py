"""Whether what `rollcall up` needs is there, and whether what it started is ready. Bounded probes.

Each says in one sentence what to do where something is missing. Nothing is started or kept here.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError
from redis import RedisError

from schemas.connection import connect
from schemas.errors import StartError
from schemas.settings import Settings
from schemas.wakeups import EXPIRES_SECONDS, SWEEP, celery_config

_REDIS_SECONDS = 3.0
_HTTP_SECONDS = 1.0
_LOOK_SECONDS = 0.1


def check_port(port: int) -> None:
    """Check that the web process can listen on PORT.

    Raises:
        StartError: it cannot.
    """
    with socket.socket() as probe:
        # Connections that are only closing, from a run before, are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StartError(
                    f"PORT: {port} is in use; stop what listens there, or set PORT to a free one,"
                    f" as in: PORT={port + 1 if port < 65_535 else 8080} make run"
                ) from None
            raise StartError(f"PORT: cannot listen on {port} ({error.strerror}).") from None


def check_redis(settings: Settings) -> None:
    """Check that Redis answers.

    Raises:
        StartError: it does not.
    """
    parts = urlsplit(settings.redis_url)
    # Without what stands before the @, which may be a password.
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    try:
        with connect(settings, timeout=_REDIS_SECONDS) as client:
            client.ping()
    except RedisError as error:
        raise StartError(
            f"REDIS_URL: {where} does not answer ({error}); start that Redis, or unset REDIS_URL"
            " and `rollcall up` starts an embedded one."
        ) from None


def wait_until(
    ready: Callable[[], bool], what: str, deadline: float, check: Callable[[], bool]
) -> bool:
    """Ask again and again whether something is ready; tell whether it became so.

    Args:
        ready: the question.
        what: for the message.
        deadline: on the monotonic clock.
        check: asked in between: whether to go on waiting.

    Raises:
        StartError: the deadline passed.
    """
    while check():
        if ready():
            return True
        if time.monotonic() > deadline:
            raise StartError(f"{what} in time; its log says why.")
        time.sleep(_LOOK_SECONDS)
    return False


def answers(settings: Settings, path: str) -> bool:
    """Tell whether the web process answers 200 there."""
    connection = HTTPConnection("127.0.0.1", settings.port, timeout=_HTTP_SECONDS)
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
