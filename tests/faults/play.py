"""Playing a scenario: start, break, mend, wait, and check every callback. One row comes of it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from faults.evidence import Findings, examine
from faults.forgotten import LOST_CALLBACKS, LOST_COMMITS, doubts
from faults.places import Place, Places, single
from faults.said import lines_of
from faults.stage import Plan, Stage, staged
from procfile import ROOT

# So long after its start a process listens to signals, and ends as it should.
_STARTED_SECONDS = 5.0
# For reading some thousands of records.
_AUDIT_SECONDS = 120.0


class Scenario(NamedTuple):
    """One fault."""

    # What is broken, as the table says it.
    fault: str
    # Breaks and mends; returns how many times.
    inject: Callable[[Stage, Place, int], int]
    # How many times, or for how many seconds, in the long form, and in the short one: 0 leaves it
    # out there.
    times: int
    times_short: int = 0
    place: Places = single
    # Whose output goes through a pipe.
    piped: Collection[str] = ()
    settings: Mapping[str, str] = {}
    # Whether Redis forgets what it has answered for, so that commits are done again; and whether
    # callbacks may be lost by that, which must be reported then.
    forgets: bool = False
    loses: bool = False
    # The longest pause that is promised; none where there is no promise.
    within_seconds: float = math.inf
    # Says what is missing on this machine; nothing where all is there.
    missing: Callable[[], str] = str


class Row(NamedTuple):
    """What came of a scenario."""

    fault: str
    # How often it was injected.
    times: int = 0
    # Callbacks that were acknowledged; those of them without effect; and effects that came twice.
    sent: int = 0
    lost: int = 0
    doubled: int = 0
    # From the end of a fault until all that had been acknowledged was applied: the longest.
    pause: float = 0.0
    problems: tuple[str, ...] = ()
    # What is worth knowing beside the numbers.
    note: str = ""


def play(scenario: Scenario, *, seed: int, times: int, folder: Path) -> Row:
    """Play a scenario in a folder of its own."""
    with scenario.place(folder) as place:
        settings = {**place.settings, **scenario.settings}
        plan = Plan(folder, seed, place.redis_url, place.broker_url, scenario.piped, settings)
        with staged(plan) as stage:
            stage.play(1.0)
            injected = scenario.inject(stage, place, times)
            stage.sender.finish()
            if not scenario.loses:
                stage.recover()
            stage.wait_until(stage.drained)
            stage.wait_until(lambda: stage.supervisor.seconds_alive > _STARTED_SECONDS)
            codes = stage.supervisor.stop_gently()
            logs = sorted(folder.glob("*.log"))
            with stage.client() as client:
                found = examine(client, stage.settings, stage.sender.acknowledged, logs)
            # What Redis forgot was concluded again, and that is a fork.
            if not scenario.forgets:
                found.problems += _audited(logs)
    found.problems += [f"{name} ended with {code}" for name, code in codes.items() if code]
    return judged(scenario, stage, injected, found, list(lines_of(*logs)))


def _audited(logs: Collection[Path]) -> list[str]:
    """Have the audit verified and replayed as an operator would; gives what is wrong with it."""
    problems = []
    for asked in ("verify", "replay"):
        command = [Path(sys.executable).parent / "rollcall", "audit", asked, "--quiet", *logs]
        done = subprocess.run(
            command,
            # In a copy of the repository, the copy's code is to run.
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            check=False,
            text=True,
            timeout=_AUDIT_SECONDS,
        )
        if done.returncode:
            problems.append(f"audit {asked} says {done.stdout[-500:]!r}")
    return problems


def judged(
    scenario: Scenario,
    stage: Stage,
    injected: int,
    found: Findings,
    lines: Sequence[dict[str, Any]],
) -> Row:
    """Hold what was found beside what is promised, and beside what the processes said of it."""
    return Row(
        fault=scenario.fault,
        times=injected,
        sent=len(stage.sender.acknowledged),
        lost=found.lost,
        doubled=found.doubled,
        pause=max(stage.pauses, default=0.0),
        problems=tuple(_problems(scenario, stage, found, lines)),
        note="; ".join(_notes(stage, found, lines)),
    )


def _problems(
    scenario: Scenario, stage: Stage, found: Findings, lines: Sequence[dict[str, Any]]
) -> Iterator[str]:
    yield from found.problems
    pause, promised = max(stage.pauses, default=0.0), scenario.within_seconds
    if pause > promised:
        yield f"caught up only after {pause:.1f} s, and {promised:g} s are promised"
    if found.doubled:
        yield "effects came twice"
    if found.lost > stage.forgotten.deposits or (found.lost and not scenario.loses):
        yield "callbacks are lost"
    if found.lost and not any(line.get("event") in _LOSSES for line in lines):
        yield "the loss was not reported"
    # What a Redis forgets that is killed under `everysec`, nobody can count.
    if stage.forgotten.times or not scenario.forgets:
        yield from doubts(stage.forgotten, lines, all_taken=not scenario.loses)
    if found.forgotten and not scenario.forgets:
        yield f"{found.forgotten} records of the audit are of no commit"
    if answers := stage.sender.answers.keys() - {204, 503}:
        yield f"the door answered {sorted(answers)}"


def _notes(stage: Stage, found: Findings, lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    forgotten = stage.forgotten
    if forgotten.times:
        commits = forgotten.commits.total()
        yield f"Redis forgot {forgotten.deposits} callbacks and {commits} commits"
    for event, number in _LOSSES.items():
        told = [line[number] for line in lines if line.get("event") == event]
        if told:
            yield f"{event} said {sum(told)}"
    if found.forgotten:
        yield f"{found.forgotten} records of the audit are of commits that Redis forgot"
    if refused := stage.sender.answers[503]:
        # Not acknowledged, and said so: where nothing is to be lost, it is sent again.
        yield f"answered 503 {refused} times"


# The log lines that say that Redis has forgotten something, and where they say how much.
_LOSSES = {LOST_CALLBACKS: "lost_at_least", LOST_COMMITS: "lost"}
