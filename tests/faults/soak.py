"""`make soak`: callbacks by the million, faults at random all along, and whether memory grows.

Unlike in the scenarios of `make faults`, the next thing breaks while the one before may still be
mending. Prints its report on standard output, and how far it is on standard error; exits with 1
where anything is lost, doubled or inconsistent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from faults import report, soak_report
from faults.soaking import Asked, Outcome, soak


def main() -> int:
    """Play what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callbacks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rate", type=float, default=1_000.0, help="a second, at the most")
    parser.add_argument("--keep", type=Path, help="a folder to leave logs and data in")
    given = parser.parse_args()
    asked = Asked(given.callbacks, given.seed, given.rate)
    where = report.machine(asked.seed)
    print(where, file=sys.stderr, flush=True)  # noqa: T201  # how far it is
    outcome = _soaked(asked, given.keep)
    print(where, "", soak_report.text(outcome), sep="\n")  # noqa: T201  # a report is printed
    return 1 if outcome.problems else 0


def _soaked(asked: Asked, keep: Path | None) -> Outcome:
    if keep:
        keep.mkdir(parents=True)
        return soak(asked, keep, say=_say)
    with tempfile.TemporaryDirectory(prefix="rollcall-soak-") as folder:
        return soak(asked, Path(folder), say=_say)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # how far it is


if __name__ == "__main__":
    sys.exit(main())
