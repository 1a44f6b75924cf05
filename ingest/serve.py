"""The web process: Granian, set up for the door. Knows no view."""

from __future__ import annotations

import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from ingest.app import require_tokens
from ingest.inbox import open_inbox
from ingest.port import claimed_port
from schemas.errors import UnavailableError
from schemas.logs import Lines, configure_logs
from schemas.settings import Settings

_ADDRESS = "0.0.0.0"  # noqa: S104  # callbacks come from outside, in a container always
# A request waits for Redis and for nothing else, so threads cost little. While Redis hangs, each
# holds one for half a second: this many are answered 503 twice a second.
_THREADS = 128
# A request ends within a second, so what still runs after this is stuck. Below the 10 s that
# `docker stop` leaves until it kills; Kubernetes and Heroku leave 30 s.
_STOP_SECONDS = 8

# Twilio's head comes in one piece; it would itself give up a connection after 5 s
# (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
_HEAD_SECONDS = 5
# A recorded head has less than 1 KiB; other servers' usual bound is 8 KiB a line.
_HEAD_BYTES = 64 * 1024

_log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Granian bounds how long a request's head may take but not its body: whoever claims to
    have a signature and sends a body drop by drop holds a thread, and as many as there are threads
    hold the door. Let the proxy that ends TLS read requests whole, as `deploy/nginx.conf` does.

    Args:
        settings: of this process. Its workers read the same environment again.

    Raises:
        BadSettingError: there is no auth token.
        StartError: the port cannot be had, or other processes count the shards differently.
    """
    require_tokens(settings)
    with claimed_port(settings.port, "web"):
        _run(settings)


def _run(settings: Settings) -> None:
    configure_logs(Lines(1), "web")
    _require_shards(settings)
    _log.info("web_starting", address=_ADDRESS, port=settings.port)
    Granian(
        target="ingest.app:from_environment",
        factory=True,
        interface=Interfaces.WSGI,
        # Twilio's proxy speaks HTTP/1.1; what nobody speaks to us need not be parsed.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEAD_SECONDS * 1000, max_buffer_size=_HEAD_BYTES
        ),
        address=_ADDRESS,
        port=settings.port,
        # One answered 1,400 callbacks a second on two cores that ran Redis and the sender as well,
        # and an account has at most 10,000 participants at a time
        # (https://www.twilio.com/docs/video/programmable-video-limits). For more, start another
        # web process elsewhere: they share nothing but Redis.
        workers=1,
        blocking_threads=_THREADS,
        # Its lines go the way of all others, and only those about workers that died: it would warn
        # of the threads at every start, and every request is logged by the view already.
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {"_granian": {"handlers": [], "propagate": True}}},
        log_access=False,
        # A worker that was killed, by the kernel for its memory for one, comes back.
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
    ).serve()


def _require_shards(settings: Settings) -> None:
    inbox = open_inbox(settings)
    try:
        inbox.check()
    except UnavailableError as error:
        # The door opens all the same, and /readyz tells.
        _log.warning("redis_unavailable", cause=type(error.__cause__).__name__)
    finally:
        inbox.close()
