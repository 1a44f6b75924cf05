"""The web process: Granian, set up for the door.

Knows no view, and must not load the application: each of its workers does that for itself.
"""

from __future__ import annotations

from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit

import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from ingest.inbox import open_inbox
from ingest.port import claimed_port
from ingest.sharing import shared_counts
from schemas.audit import HASHED
from schemas.errors import UnavailableError
from schemas.logs import Lines, configure_logs
from schemas.settings import Settings

_ADDRESS = "0.0.0.0"  # noqa: S104  # callbacks come from outside, in a container always
# A request ends within a second, so what still runs after this is stuck. Below the 10 s that
# `docker stop` leaves until it kills; Kubernetes and Heroku leave 30 s.
_STOP_SECONDS = 8

# Twilio's head comes in one piece; it would itself give up a connection after 5 s
# (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
_HEAD_SECONDS = 5
# Of each worker; one more waits until another ends. A connection that has sent nothing for as long
# as a head may take is closed, and a body is at most 64 KiB: so 128 MiB a worker at the very worst.
_CONNECTIONS = 2048
# Beside them there are those to Redis, one a thread, and the files of the spool.
_DESCRIPTORS = _CONNECTIONS + 1024

# A recorded head has less than 1 KiB; other servers' usual bound is 8 KiB a line.
_HEAD_BYTES = 64 * 1024

_log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: of this process. Its workers read the same environment again.

    Raises:
        BadSettingError: there is no auth token.
        StartError: the port cannot be had, or other processes count the shards differently.
    """
    settings.require_tokens()
    with claimed_port(settings.port, "web"):
        _run(settings)


def _run(settings: Settings) -> None:
    configure_logs(Lines(1), "web", hide_names=settings.audit_identity == HASHED)
    _allow_descriptors()
    _require_shards(settings)
    _log.info(
        "web_starting", address=_ADDRESS, port=settings.port, processes=settings.web_concurrency
    )
    with shared_counts(settings.web_concurrency):
        _listen(settings)


def _listen(settings: Settings) -> None:
    Granian(
        target="ingest.app:from_environment",
        factory=True,
        interface=Interfaces.RSGI,
        websockets=False,
        loop=Loops.uvloop,
        # Twilio's proxy speaks HTTP/1.1; what nobody speaks to us need not be parsed.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEAD_SECONDS * 1000, max_buffer_size=_HEAD_BYTES
        ),
        address=_ADDRESS,
        port=settings.port,
        workers=settings.web_concurrency,
        backpressure=_CONNECTIONS,
        # Its lines go the way of all others, and only those about workers that died: it would warn
        # of the threads at every start, and every request is logged by the view already.
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {"_granian": {"handlers": [], "propagate": True}}},
        log_access=False,
        # A worker that was killed, by the kernel for its memory for one, comes back.
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
    ).serve()


def _allow_descriptors() -> None:
    """Allow as many open files as there may be connections, as far as the system lets us."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != RLIM_INFINITY and soft < wanted:
        setrlimit(RLIMIT_NOFILE, (wanted, hard))


def _require_shards(settings: Settings) -> None:
    inbox = open_inbox(settings)
    try:
        inbox.check()
    except UnavailableError as error:
        # The door opens all the same, and /readyz tells.
        _log.warning("redis_unavailable", cause=type(error.__cause__).__name__)
    finally:
        inbox.close()
