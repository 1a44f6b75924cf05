"""The process `console`: Granian, set up for the snapshots.

Knows no view, and must not load the application: Granian's worker does that for itself.
"""

from __future__ import annotations

import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from redis import RedisError

from console.rooms import Rooms
from ingest.port import claimed_port
from schemas.audit import HASHED
from schemas.logs import Lines, configure_logs
from schemas.settings import Settings

_ADDRESS = "0.0.0.0"  # noqa: S104  # consumers are elsewhere, in a container always
# A page takes 5 s at most. Below the 10 s that `docker stop` leaves until it kills.
_STOP_SECONDS = 8
# A page may have 4 MiB, and a few consumers come back at a time: the rest waits its turn.
_THREADS = 8
_CONNECTIONS = 256
# No request has a body that is read, so a head is all that can come slowly.
_HEAD_SECONDS = 5
_HEAD_BYTES = 16 * 1024

_log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: of this process. Granian's worker reads the same environment again.

    Raises:
        BadSettingError: there is no API token.
        StartError: the port cannot be had, or other processes count the shards differently.
    """
    settings.require_api_tokens()
    port = settings.console_port
    with claimed_port(port, "console", setting="ROLLCALL_CONSOLE_PORT"):
        configure_logs(Lines(1), "console", hide_names=settings.audit_identity == HASHED)
        _check(settings)
        _log.info("console_starting", address=_ADDRESS, port=port)
        _listen(port)


def _check(settings: Settings) -> None:
    rooms = Rooms(settings)
    try:
        rooms.check()
    except RedisError as error:
        # The console opens all the same, and /readyz tells.
        _log.warning("redis_unavailable", cause=type(error).__name__)
    finally:
        rooms.close()


def _listen(port: int) -> None:
    Granian(
        target="console.api:from_environment",
        factory=True,
        interface=Interfaces.WSGI,
        websockets=False,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=_HEAD_SECONDS * 1000, max_buffer_size=_HEAD_BYTES
        ),
        address=_ADDRESS,
        port=port,
        workers=1,
        blocking_threads=_THREADS,
        backpressure=_CONNECTIONS,
        # As for the door: what it says goes the way of all other lines.
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {"_granian": {"handlers": [], "propagate": True}}},
        log_access=False,
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
    ).serve()
