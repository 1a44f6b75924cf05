"""The short form of `make door-differential`."""

from __future__ import annotations

import random

import pytest
from differential import compare


@pytest.mark.parametrize("part", range(4))
def test_the_verdicts_are_those_of_twilios_own_validator(part: int) -> None:
    # Another seed in every run: pytest-randomly sets it, and shows it at the start.
    tally = compare(random.getrandbits(32) + part, 200)
    assert sum(tally) == 200
    # Each verdict was tried: there is something to differ on.
    assert min(tally) > 5
