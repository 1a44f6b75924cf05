"""How the kernel shares the cores among our processes. Knows only the process that it runs in."""

from __future__ import annotations

import os
import sys

import structlog

log = structlog.get_logger()


def use_batch_scheduling() -> None:
    """Have this process, and all that it starts, wait for a core instead of taking one (Linux).

    Web wakes up for each request, a worker for each round, and by default a process that wakes up
    is given the core of one in the middle of its work. So scheduled, whoever has a core ends what
    it is at, or its time. Redis is left as it is: whoever waits for its answer waits for the core
    that it gets (https://man7.org/linux/man-pages/man7/sched.7.html, SCHED_BATCH). This takes no
    privilege.

    What somebody else has chosen for this process stays.
    """
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:
        # A sandbox may forbid the call. It is slower so, and nothing worse.
        log.info("not_scheduled_in_batches", error=error)
