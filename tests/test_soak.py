"""The short form of `make soak`: a few seconds of it, with all that it counts and compares."""

from __future__ import annotations

from pathlib import Path

from faults import soak_report
from faults.soaking import Asked, soak


def test_nothing_is_lost_or_doubled_while_faults_come_at_random(tmp_path: Path) -> None:
    asked = Asked(callbacks=3_000, seed=1, rate=500.0, between=(1.0, 2.0), calm=0.0)
    said: list[str] = []
    outcome = soak(asked, tmp_path, say=said.append)
    counts = outcome.counts
    assert outcome.problems == []
    assert outcome.mishaps.total() >= 2
    assert outcome.rooms >= 60
    assert counts["sent"] >= 3_000
    assert counts["applied"] == counts["acknowledged"] == counts["sent"]
    assert counts["absorbed"] >= counts["sent twice"] > 0
    assert outcome.audit["records"] > counts["applied"]
    assert len(outcome.marks) == 3
    assert "no problem found" in soak_report.text(outcome)
