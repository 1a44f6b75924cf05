"""The report of a soak, as it is printed."""

from __future__ import annotations

from faults.memory import MIB, Life
from faults.soaking import Outcome

_WIDTH = 26
_OF_REDIS = {
    "used": "Redis: used_memory",
    "over": "  of it rooms that ended",
    "rest": "  of it all the rest",
}


def text(outcome: Outcome) -> str:
    """Write it all down."""
    parts = [_headline(outcome), _counts(outcome), _memory(outcome), _lives(outcome)]
    parts.append([f"PROBLEM: {problem}" for problem in outcome.problems] or ["no problem found"])
    return "\n\n".join("\n".join(part) for part in parts if part)


def _headline(outcome: Outcome) -> list[str]:
    minutes = outcome.seconds / 60
    rate = outcome.counts["sent"] / outcome.seconds
    faults = outcome.mishaps.total()
    sent = f"{outcome.counts['sent']:,} callbacks of {outcome.rooms:,} rooms"
    lines = [f"{sent} in {minutes:.0f} min ({rate:.0f} a second), {faults} faults:"]
    return lines + [f"  {times:4} x {fault}" for fault, times in sorted(outcome.mishaps.items())]


def _counts(outcome: Outcome) -> list[str]:
    counts = outcome.counts
    rows = {
        "sent": (counts["sent"], f"and {counts['sent twice']:,} of them twice"),
        "acknowledged": (counts["acknowledged"], _answers(outcome)),
        "applied": (counts["applied"], f"at most {outcome.most_waiting:,} waited"),
        "duplicates absorbed": (counts["absorbed"], "sent twice, or told again after a fault"),
        "events": (counts["events"], "each one read, its number and its id checked"),
        "alerts": (counts["alerts"], "likewise"),
        "audit records": (outcome.audit["records"], f"{outcome.audit['copies']:,} are copies"),
        "lost": (counts["lost"], ""),
        "doubled": (counts["doubled"], ""),
    }
    return [f"{name:{_WIDTH}}{count:>12,}  {note}".rstrip() for name, (count, note) in rows.items()]


def _answers(outcome: Outcome) -> str:
    return ", ".join(f"{status}: {times:,}" for status, times in sorted(outcome.answers.items()))


def _memory(outcome: Outcome) -> list[str]:
    """Say what was held when, in MiB, and how old each process was by then."""
    marks = outcome.marks
    names = sorted({name for mark in marks for name in mark.processes})
    head = [f"{mark.callbacks:,}" for mark in marks]
    lines = [_row("MiB after callbacks", [*head, "at most"])]
    for name in names:
        cells = []
        for mark in marks:
            one = mark.processes.get(name)
            cells.append(f"{_mib(one.resident)} ({one.age:.0f} s)" if one else "-")
        lines.append(_row(name, [*cells, _mib(outcome.most[name])]))
    for name, said in _OF_REDIS.items():
        lines.append(_row(said, [_mib(getattr(mark.redis, name)) for mark in marks]))
    return lines


def _lives(outcome: Outcome) -> list[str]:
    if not outcome.lives:
        return []
    lines = ["Of each, the process that lived longest after its first minute, in MiB:"]
    return lines + [_life(life) for life in outcome.lives]


def _life(life: Life) -> str:
    began, last = _mib(life.began.resident), _mib(life.last.resident)
    return f"{life.name:{_WIDTH}}{began:>12} -> {last:>6} in {life.seconds / 60:.0f} min"


def _row(name: str, cells: list[str]) -> str:
    return f"{name:{_WIDTH}}" + "".join(f"{cell:>17}" for cell in cells)


def _mib(size: int) -> str:
    return f"{size / MIB:.1f}"
