"""What the benchmarks make of what they measured."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.capacity import Costs, limits, needs, plan
from benchmarks.figures import Figures, percentile
from benchmarks.goals import Goal, goals
from benchmarks.latency import latencies
from benchmarks.orders import Stamp
from benchmarks.shots import Mark

COSTS = Costs(web=600e-6, worker=300e-6, redis=60e-6, waiting=500, event=500, appended=3_000)


def test_the_plan_leaves_two_fifths_of_each_core_free() -> None:
    need = needs(1_000, COSTS)
    assert (need.web, need.workers, need.redis) == (1, 1, 1)
    need = needs(10_000, COSTS)
    assert (need.web, need.workers, need.shards, need.redis) == (10, 5, 16, 1)
    assert need.memory_gib == pytest.approx((1_000_000 * 500 + 600_000 * 500) / 2**30)
    assert need.appended_mb == pytest.approx(30)


def test_what_is_full_at_the_lowest_rate_gives_first() -> None:
    assert [name for name, _ in limits(COSTS).items()] == [
        "one web process",
        "one worker process",
        "one Redis",
    ]
    assert limits(COSTS)["one worker process"] == pytest.approx(3_333, abs=1)


def test_what_was_not_measured_is_not_planned_as_nothing() -> None:
    rows = plan(COSTS._replace(appended=None), (1_000, 10_000)).splitlines()[2:4]
    assert [row.split(" | ")[-1] for row in rows] == ["- |", "- |"]
    assert plan(COSTS, (10_000,)).splitlines()[2].endswith("| 30.0 |")


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [
        (Goal("a", 3.0, at_least=3), "met"),
        (Goal("a", 2.9, at_least=3), "missed"),
        (Goal("a", 50.1, at_most=50), "missed"),
        (Goal("a", 50.0, at_most=50), "met"),
        (Goal("a", 1.5), ""),
        (Goal("a", None, at_least=3), ""),
    ],
)
def test_a_goal_is_met_or_missed_or_only_reported(goal: Goal, verdict: str) -> None:
    assert goal.verdict == verdict


def test_goals_are_judged_by_the_medians_of_the_rounds() -> None:
    figures = Figures()
    for plain, ours in ((100, 250), (200, 800), (900, 900)):
        figures.note("accepted", "plain", plain)
        figures.note("accepted", "rollcall", ours)
    [accepted, *_] = goals(figures)
    assert (accepted.measured, accepted.wanted, accepted.verdict) == (4, "at least 3", "met")


def test_the_greatest_stands_for_the_last_share_of_few_values() -> None:
    assert percentile([*range(1_000)], 0.99) == 990
    assert percentile([3.0, 1.0, 2.0], 0.999) == 3.0


def test_a_callback_is_timed_from_its_first_sending_to_its_first_event(tmp_path: Path) -> None:
    sent, read = tmp_path / "sent", tmp_path / "read"
    one, two, three = (Mark("PA1", f"{number}") for number in range(3))
    times = [Stamp(one, 1_000_000), Stamp(one, 2_000_000), Stamp(two, 3_000_000)]
    sent.write_bytes(msgspec.msgpack.encode([*times, Stamp(three, 9_000_000)]))
    times = [Stamp(one, 5_000_000), Stamp(one, 6_000_000), Stamp(three, 8_000_000)]
    read.write_bytes(msgspec.msgpack.encode(times))
    # The second led to nothing, and what the third tells was concluded before it was sent.
    assert latencies(sent, read) == [4.0]
