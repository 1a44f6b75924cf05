"""Rollcall beside a plain receiver and the ceilings, all in turn, several rounds of it.

Prints a report as Markdown on standard output, and how far it is on standard error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path

from benchmarks.ceilings import measure_ceilings
from benchmarks.figures import Figures
from benchmarks.growth import measure_growth
from benchmarks.machine import described
from benchmarks.meetings import traffic
from benchmarks.plan import LONG, QUICK, SMOKE, Plan
from benchmarks.processes import BenchmarkError
from benchmarks.report import report, write_into
from benchmarks.shots import write_shots
from benchmarks.side import Side
from benchmarks.signing import signed
from benchmarks.systems import SYSTEMS, Site
from console.embedded import EmbeddedRedis

_SEED = 1


def measure(plan: Plan, folder: Path, figures: Figures) -> str:
    """Measure everything, on a Redis of its own; return how often, and on which machine."""
    shots = folder / "shots"
    figures.say(f"signing {plan.shots:,} callbacks")
    write_shots(shots, [*signed(islice(traffic(_SEED), plan.shots))])
    server = EmbeddedRedis(folder / "redis")
    server.start()
    try:
        machine = described(Site.on(server, folder).redis)
        rounds = 0
        while rounds < plan.rounds and figures.elapsed < plan.enough:
            rounds += 1
            figures.say(f"round {rounds} of {plan.rounds}")
            for system in SYSTEMS:
                Side(system, Site.on(server, folder / system.name), plan, shots, figures).measure()
            measure_ceilings(Site.on(server, folder / "ceilings"), plan, shots, figures)
        measure_growth(Site.on(server, folder / "growth"), plan, figures)
    finally:
        server.stop()
    return f"medians of {rounds} interleaved rounds; {machine}."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--long", action="store_true", help="200,000 in backlog, 100,000 live rooms"
    )
    either.add_argument("--smoke", action="store_true", help="only to see that it runs and counts")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--write", type=Path, help="a document to put the report into")
    asked = parser.parse_args()
    plan = LONG if asked.long else SMOKE if asked.smoke else QUICK
    if asked.rounds:
        plan = replace(plan, rounds=asked.rounds)
    figures = Figures()
    try:
        with tempfile.TemporaryDirectory(prefix="rollcall-benchmarks-") as folder:
            where = measure(plan, Path(folder), figures)
    except BenchmarkError as error:
        sys.exit(f"benchmarks: {error}")
    size = " --long" if asked.long else " --smoke" if asked.smoke else ""
    told = report(figures, f"`python -m benchmarks{size}`, {where}")
    print(told)
    if asked.write:
        write_into(asked.write, told)


if __name__ == "__main__":
    main()
