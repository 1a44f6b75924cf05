"""Rollcall's worker with so many processes as are named: `python -m benchmarks.worker 4`.

As shipped it has as many as there are cores; so it is told of another number of cores.
"""

from __future__ import annotations

import os
import sys

from schemas.settings import Settings
from workers.main import work


def main() -> None:
    cores = int(sys.argv[1])
    os.cpu_count = lambda: cores
    work(Settings.from_environment())


if __name__ == "__main__":
    main()
