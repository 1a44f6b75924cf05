"""The report: the medians as Markdown, beside the goals. Measures nothing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from benchmarks.capacity import Costs, plan
from benchmarks.ceilings import DOORS, PIPELINE
from benchmarks.figures import Figures
from benchmarks.goals import goals

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
_MIB = 1 << 20


class _Row(NamedTuple):
    letter: str
    what: str
    figure: str
    # How many of the figure's own unit are one of what is shown.
    unit: float = 1.0


_SIDE_BY_SIDE = (
    _Row("a", "accepted by one web process, requests/s", "accepted"),
    _Row("a", "processor time of that, a request, µs", "cpu of accepting", 1e-6),
    _Row("b", "sustained end to end, callbacks/s", "sustained"),
    *(
        _Row("c" if many == 1 else "f", f"drained, worker processes: {many}, callbacks/s", figure)
        for many, figure in ((many, f"drained by {many}") for many in (1, 2, 4, 8))
    ),
    *(
        _Row("d", f"POST to event readable, {when}, {share}, ms", f"{figure} {share}")
        for when, figure in (("idle", "idle"), ("at half of b", "half"))
        for share in ("p50", "p99", "p99.9")
    ),
    *(
        _Row("e", f"Redis, a live room of {people}, bytes", f"bytes a room of {people}")
        for people in (2, 10, 50)
    ),
    _Row("e", "Redis, an event in the stream, bytes", "bytes an event"),
    _Row("e", "Redis, a callback that waits, bytes", "bytes waiting"),
    *(
        _Row("e", f"resident memory of {name}, MiB", f"resident {name}", _MIB)
        for name in ("web", "worker", "beat", "console")
    ),
    *(
        _Row("g", f"CPU of {name} per 100,000 callbacks, s", f"cpu of {name}")
        for name in ("web", "worker", "beat", "redis", "sender")
    ),
    _Row("g", "round trips to Redis, a callback", "round trips"),
    _Row("g", "sent to Redis, a callback, bytes", "bytes to redis"),
    _Row("g", "sent by Redis, a callback, bytes", "bytes from redis"),
    _Row("g", "append-only file, a callback, bytes", "bytes appended"),
    *(
        _Row("h", f"start-up of {name}, s", f"start {name}")
        for name in ("web", "worker", "beat", "console")
    ),
)

_DOORS = dict(
    zip(
        DOORS,
        (
            "Flask on Granian, 204 with no work, requests/s",
            "the same, served as Rollcall serves its door",
            "Rollcall's door, verified and validated, without the deposit",
        ),
        strict=True,
    )
)


def report(figures: Figures, where: str) -> str:
    """Write everything that was measured, as Markdown.

    Args:
        figures: what was measured; what is missing is left out.
        where: how and on which machine.
    """
    parts = [
        where,
        _side_by_side(figures),
        _ceilings(figures),
        _growth(figures),
        _goals(figures),
        _capacity(figures),
    ]
    return "\n\n".join(parts)


def _shown(value: float | None, unit: float = 1.0) -> str:
    if value is None:
        return "-"
    value /= unit
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(part: float | None, whole: float | None) -> str:
    return _shown(part / whole if part is not None and whole else None)


def _side_by_side(figures: Figures) -> str:
    lines = ["| | figure | plain | Rollcall | Rollcall : plain |", "|---|---|---|---|---|"]
    for row in _SIDE_BY_SIDE:
        plain, ours = (figures.median(row.figure, of) for of in ("plain", "rollcall"))
        if plain is not None or ours is not None:
            shown = f"{_shown(plain, row.unit)} | {_shown(ours, row.unit)} | {_ratio(ours, plain)}"
            lines.append(f"| {row.letter} | {row.what} | {shown} |")
    return "\n".join(lines)


def _ceilings(figures: Figures) -> str:
    accepted, drained = (figures.median(of, "rollcall") for of in ("accepted", "drained by 1"))
    lines = ["| ceiling | measured | Rollcall's share | CPU a request, µs |", "|---|---|---|---|"]
    for door, what in _DOORS.items():
        ceiling, cpu = (figures.median(of, door) for of in ("accepted", "cpu of accepting"))
        share = f"{_ratio(accepted, ceiling)} (a)"
        lines.append(f"| {what} | {_shown(ceiling)} | {share} | {_shown(cpu, 1e-6)} |")
    xadd, piped = (figures.median("xadds", f"pipeline of {many}") for many in (1, PIPELINE))
    heart = figures.median("heart", "rollcall")
    for what, ceiling, share in (
        ("XADD, entries/s", xadd, f"{_ratio(accepted, xadd)} (a)"),
        (f"XADD, {PIPELINE} in a pipeline, entries/s", piped, f"{_ratio(drained, piped)} (c)"),
        ("the heart alone, callbacks/s", heart, f"{_ratio(drained, heart)} (c)"),
    ):
        lines.append(f"| {what} | {_shown(ceiling)} | {share} | - |")
    return "\n".join(lines)


def _growth(figures: Figures) -> str:
    lines = ["| f: drained in one process, with | callbacks/s | of the first |", "|---|---|---|"]
    for sizes in ("live rooms", "participants a room"):
        names = [name for name in figures.whose("drained") if name.endswith(sizes)]
        rates = [figures.median("drained", name) for name in names]
        lines += [
            f"| {name} | {_shown(rate)} | {_ratio(rate, rates[0])} |"
            for name, rate in zip(names, rates, strict=True)
        ]
    return "\n".join(lines)


def _goals(figures: Figures) -> str:
    lines = ["| goal | wanted | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {goal.what} | {goal.wanted} | {_shown(goal.measured)} | {goal.verdict} |"
        for goal in goals(figures)
    ]
    return "\n".join(lines)


def _capacity(figures: Figures) -> str:
    def each(figure: str, per: float = 1.0) -> float:
        return (figures.median(figure, "rollcall") or 0.0) / per

    costs = Costs(
        web=each("cpu of web", 100_000),
        worker=each("cpu of worker", 100_000),
        redis=each("cpu of redis", 100_000),
        waiting=each("bytes waiting"),
        event=each("bytes an event"),
        appended=figures.median("bytes appended", "rollcall"),
    )
    return plan(costs)


def write_into(document: Path, generated: str, begin: str = BEGIN, end: str = END) -> None:
    """Put the report between the markers of a document.

    Raises:
        ValueError: the document has no such markers.
    """
    head, _, rest = document.read_text().partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"{document} has no place for the figures: {begin} and {end}.")
    document.write_text(f"{head}{begin}\n\n{generated}\n\n{end}{tail}")
