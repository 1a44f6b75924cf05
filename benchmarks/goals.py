"""The goals, and what was measured of each. Decides nothing: what is missed is reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.figures import Figures


class Goal(NamedTuple):
    """One figure that is wanted to be at least, or at most, so much."""

    what: str
    measured: float | None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def wanted(self) -> str:
        """What is wanted, in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:,g}"
        return "reported" if self.at_most is None else f"at most {self.at_most:,g}"

    @property
    def verdict(self) -> str:
        """Whether it is met; nothing where it is only to be reported, or was not measured."""
        if self.measured is None or self.wanted == "reported":
            return ""
        low = self.at_least is not None and self.measured < self.at_least
        high = self.at_most is not None and self.measured > self.at_most
        return "missed" if low or high else "met"


def goals(figures: Figures) -> Iterator[Goal]:
    """List them, each with what was measured."""

    def ours(figure: str) -> float | None:
        return figures.median(figure, "rollcall")

    def against_plain(figure: str) -> float | None:
        return _ratio(ours(figure), figures.median(figure, "plain"))

    accepted = ours("accepted")
    yield Goal("accepted, against plain", against_plain("accepted"), at_least=3)
    checked = _ratio(accepted, figures.median("accepted", "checked"))
    yield Goal("accepted, against the door without the deposit", checked, at_least=0.6)
    yield Goal("sustained, against plain", against_plain("sustained"), at_least=5)
    yield Goal("drained by one worker process, against plain", against_plain("drained by 1"), 10)
    yield Goal("POST to event, idle, p50, ms", ours("idle p50"), at_most=6)
    yield Goal("POST to event, idle, p99, ms", ours("idle p99"), at_most=20)
    yield Goal("POST to event, idle, p99, against plain", against_plain("idle p99"), at_most=1)
    yield Goal("POST to event, at half of b, p99, ms", ours("half p99"), at_most=50)
    for sizes in ("live rooms", "participants a room"):
        names = [name for name in figures.whose("drained") if name.endswith(sizes)]
        if names:
            least, most = (figures.median("drained", name) for name in (names[0], names[-1]))
            yield Goal(f"{names[-1]} against {names[0]}", _ratio(most, least), at_least=0.8)
    yield Goal("Redis, a live room of 10, bytes", ours("bytes a room of 10"), at_most=8192)
    two = _ratio(ours("drained by 2"), ours("drained by 1"))
    yield Goal("two worker processes against one, drained", two)


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
