"""`make faults`: plays the suite and prints its table. Exits with 1 where something is not well."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from faults import report
from faults.play import Row, Scenario, play
from faults.suite import SUITE


def main() -> int:
    """Play what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default="", help="a part of the name of what is to be played")
    parser.add_argument("--keep", type=Path, help="a folder to leave logs and data in")
    parser.add_argument("--write", type=Path, help="the document to put the table into")
    asked = parser.parse_args()
    where = report.machine(asked.seed)
    _say(f"{where}\n\n{report.HEAD}")
    scenarios = [scenario for scenario in SUITE if asked.only in scenario.fault]
    rows = [_played(scenario, asked.seed, asked.keep) for scenario in scenarios]
    if asked.write:
        report.write(asked.write, where, rows)
    return 0 if rows and not any(row.problems for row in rows) else 1


def _played(scenario: Scenario, seed: int, keep: Path | None) -> Row:
    if missing := scenario.missing():
        row = Row(scenario.fault, note=f"not played: {missing}")
    elif keep:
        row = _survived(scenario, seed, keep / scenario.fault.replace(" ", "-"))
    else:
        with tempfile.TemporaryDirectory() as folder:
            row = _survived(scenario, seed, Path(folder))
    _say(report.line(row), *(f"    {problem}" for problem in row.problems))
    return row


def _survived(scenario: Scenario, seed: int, folder: Path) -> Row:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return play(scenario, seed=seed, times=scenario.times, folder=folder)
    except Exception as error:  # noqa: BLE001  # one that cannot be played must not hide the rest
        traceback.print_exc()
        return Row(scenario.fault, problems=(f"{type(error).__name__}: {error}",))


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201  # a report is printed


if __name__ == "__main__":
    sys.exit(main())
