"""Mending: what would hang or end a worker in the libraries under Celery, and has no setting.

Each of these reaches into a library, so each says what happens without it, and a test holds it to
that. Knows nothing of ours.
"""

from __future__ import annotations

import billiard.pool
from kombu.transport.redis import Transport
from redis import ResponseError

# A second, in steps of 0.1 s.
_RESULTS_SECONDS_TENTHS = 10


def mend_libraries() -> None:
    """Mend them for this process, and for what it forks."""
    _wait_less_for_results()
    _stay_when_redis_refuses()


def _wait_less_for_results() -> None:
    """Have a child that ends wait 1 s for the main process, and not 30 s.

    It waits until all its results were counted, which the main process miscounts at times while it
    ends itself. A wake-up has no result.
    """
    billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = _RESULTS_SECONDS_TENTHS


def _stay_when_redis_refuses() -> None:
    """Have a worker connect anew when the broker answers with an error, instead of ending.

    Out of memory, a replica since a failover, or a client that is unblocked: Celery takes what is
    no connection error for one that cannot be recovered from, and the worker's main process ends.
    """
    Transport.connection_errors = (*Transport.connection_errors, ResponseError)
