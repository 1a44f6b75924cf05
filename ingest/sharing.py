"""The folder in which several web processes keep what they count together.

Must not load prometheus_client, nor what loads it: the library looks for the folder once, when it
is loaded, and the processes are forked from the one that makes it
(https://prometheus.github.io/client_python/multiprocess/).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

# The library's own name for it.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_counts(processes: int) -> Iterator[None]:
    """Have the processes that are started meanwhile share what they count; one alone need not."""
    if processes == 1:
        yield
        return
    with TemporaryDirectory(prefix="rollcall-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        yield
