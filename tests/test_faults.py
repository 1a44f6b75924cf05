"""The short form of `make faults`: the most telling of its scenarios, a few times each."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.play import Scenario, play
from faults.suite import SUITE

SHORT = [scenario for scenario in SUITE if scenario.times_short]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SHORT, ids=[scenario.fault for scenario in SHORT])
def test_every_callback_that_is_acknowledged_takes_effect_once_whatever_breaks(
    tmp_path: Path, scenario: Scenario
) -> None:
    if missing := scenario.missing():
        pytest.skip(missing)
    row = play(scenario, seed=1, times=scenario.times_short, folder=tmp_path)
    assert row.problems == ()
    assert row.times >= scenario.times_short
    assert row.sent > 50
    assert (row.lost, row.doubled) == (0, 0)
