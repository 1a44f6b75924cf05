"""The short form of `make outage`: Redis paused, killed and back, and the web process killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from outage import Plan, play


@pytest.mark.slow
@pytest.mark.parametrize("kill_web", [False, True], ids=["web lives", "web killed"])
def test_every_callback_of_an_outage_is_answered_204_and_applied_exactly_once(
    tmp_path: Path, *, kill_web: bool
) -> None:
    seen = play(tmp_path, Plan(paused=2, killed=2, after=2, rate=100), kill_web=kill_web)
    assert seen.sent > 300
    assert dict(seen.answers) == {204: seen.sent}
    assert (seen.applied, seen.doubled) == (seen.sent, 0)
