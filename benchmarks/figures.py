"""Figures: what each round measured, and the medians over the rounds. Knows not what they mean."""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence


class Figures:
    """Numbers by what they are of: a figure's name, and whose it is."""

    def __init__(self) -> None:
        self._noted: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._began = time.monotonic()

    def note(self, figure: str, of: str, value: float) -> None:
        """Take down what a round measured, and say so."""
        self._noted[figure, of].append(value)
        self.say(f"{figure}, {of}: {value:,.4g}")

    @property
    def elapsed(self) -> float:
        """For how many seconds it has been measured."""
        return time.monotonic() - self._began

    def say(self, what: str) -> None:
        """Say how far it is."""
        print(f"{self.elapsed:6.1f} s  {what}", file=sys.stderr, flush=True)

    def median(self, figure: str, of: str) -> float | None:
        """The median over the rounds; None where it was not measured."""
        values = self._noted.get((figure, of))
        return statistics.median(values) if values else None

    def whose(self, figure: str) -> list[str]:
        """Of whom there is such a figure, in the order in which they were first measured."""
        return [of for name, of in self._noted if name == figure]


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that is not exceeded by this share of all; of few, the greatest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
