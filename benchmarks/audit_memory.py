"""What reading worker logs takes: memory and time of verify, replay and explain, by their size.

    python -m benchmarks.audit_memory [--megabytes 300] [--workers 1 3] [--write docs/audit.md]

Each worker has a file of its own, of one meeting after the other, 500 at a time, digested and
written down as a worker does it, in a temporary folder. Memory is the most that a process ever had
resident, as the kernel counts it; it includes the interpreter.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

_MB = 1_000_000
_MARKS = "<!-- memory: begin -->", "<!-- memory: end -->"


class Spent(NamedTuple):
    """What a command has taken."""

    # In MiB.
    resident: float
    # Of the processor.
    seconds: float


def write_log(path: Path, megabytes: int, seed: int) -> None:
    """Write the log of a worker, until it is so large."""
    # The process that measures stays small: a child is counted from what it began with.
    from benchmarks.meetings import traffic  # noqa: PLC0415
    from benchmarks.offline import OfflineWorker  # noqa: PLC0415

    with path.open("wb") as file:
        for lines in OfflineWorker().log_of(traffic(seed)):
            file.write(lines)
            if file.tell() >= megabytes * _MB:
                return


def written(folder: Path, megabytes: int, workers: int) -> list[Path]:
    """Write the logs of several workers, in as many processes."""
    logs = [folder / f"worker-{number}.log" for number in range(workers)]
    writing = [
        get_context("spawn").Process(target=write_log, args=(log, megabytes, seed))
        for seed, log in enumerate(logs)
    ]
    for one in writing:
        one.start()
    for one in writing:
        one.join()
    if any(one.exitcode for one in writing):
        raise SystemExit("a log could not be written.")
    return logs


def spent_by(*arguments: str) -> Spent:
    """Run a command of the audit; it must find all to be well."""
    command = [str(Path(sys.executable).with_name("rollcall")), "audit", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    return Spent(usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


def measured(logs: list[Path]) -> str:
    """Measure with some logs; gives a row of the table."""
    with logs[0].open("rb") as file:
        room = json.loads(next(file))["room_sid"]
    lines = 0
    for log in logs:
        with log.open("rb") as file:
            lines += sum(1 for _ in file)
    cells = [f"{sum(log.stat().st_size for log in logs) / _MB:,.0f}", f"{lines:,}"]
    for arguments in (["verify", "-q"], ["replay", "-q"], ["explain", room]):
        spent = spent_by(*arguments, *map(str, logs))
        cells += [f"{spent.resident:,.0f}", f"{math.ceil(spent.seconds):,}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, print a table, and put it into a document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=300, help="of the log of each worker")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--write", type=Path, help="a document to put the table into")
    asked = parser.parse_args()
    commands = "verify", "replay", "explain"
    head = ["logs, MB", "records", *(f"{one}, {of}" for one in commands for of in ("MiB", "s"))]
    table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    with tempfile.TemporaryDirectory() as folder:
        logs = written(Path(folder), asked.megabytes, max(asked.workers))
        table += [measured(logs[:workers]) for workers in asked.workers]
    what = (
        "`python -m benchmarks.audit_memory`: MiB resident at the most, seconds of the processor."
    )
    told = "\n".join([what, "", *table])
    print(told)
    if asked.write:
        from benchmarks.report import write_into  # noqa: PLC0415  # see above

        write_into(asked.write, told, *_MARKS)


if __name__ == "__main__":
    main()
