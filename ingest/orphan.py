"""An end for a worker whose main process was killed. Knows nothing of what the worker does.

Nobody would stop such a worker any more, and it would keep the port from the next web process.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess

import structlog

# As long as a worker gets from a main process that lives.
_STOP_SECONDS = 8

_log = structlog.get_logger(__name__)


def end_with_parent() -> None:
    """Have this process end soon after the one that started it by `multiprocessing`, if any did."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), name="orphan", daemon=True).start()


def _watch(parent: BaseProcess) -> None:
    parent.join()
    # A main process that is told to end waits for its workers first, so this one was killed.
    _log.warning("web_orphaned", parent=parent.pid)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_STOP_SECONDS)
    os._exit(1)
