"""The short form of `make soak`, with all that it counts; and that it would see what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faults import soak_report
from faults.books import Books
from faults.comparison import Comparison
from faults.soaking import Asked, soak
from redis import Redis
from streams import Published

from schemas.connection import keyspace_of
from schemas.events import chain_digest, encode_data
from schemas.settings import Settings

ROOM = "RM" + "1" * 32


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_while_faults_come_at_random(tmp_path: Path) -> None:
    asked = Asked(callbacks=3_000, seed=1, rate=500.0, between=(1.0, 2.0), calm=0.0)
    outcome = soak(asked, tmp_path, say=lambda _: None)
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


def published(number: int, kind: str, previous: str = "", **data: Any) -> Published:
    """An event of the room as it stands in the stream, or an alert."""
    alert = kind.startswith("alert.")
    raw, type_ = encode_data(data), f"rollcall.{kind}"
    digest = chain_digest(previous, type_, ROOM, "", raw)
    attributes = {"type": type_, "subject": ROOM, "time": "", "roomsid": ROOM}
    attributes["roomalert" if alert else "roomrevision"] = str(number)
    attributes["id"] = f"{ROOM}:{'a' * alert}{number}:{digest}"
    return Published(attributes, data, raw)


OPENED = published(1, "room.opened")
CLOSED = published(2, "room.closed", OPENED.attributes["id"])
RAISED = published(1, "alert.raised", dedup_key="one")


@pytest.mark.parametrize(
    ("events", "doubled", "problem"),
    [
        ([OPENED, CLOSED], 0, None),
        ([OPENED, CLOSED, CLOSED], 1, "roomrevision 2 came again"),
        ([CLOSED], 0, "roomrevision 2 came after 0"),
        ([OPENED, published(2, "room.closed")], 0, "the id of roomrevision 2 does not build on"),
        (
            [OPENED, published(2, "room.opened", OPENED.attributes["id"])],
            1,
            "tells what was told before",
        ),
        (
            [RAISED, published(2, "alert.raised", RAISED.attributes["id"], dedup_key="one")],
            1,
            "tells what was told before",
        ),
    ],
)
def test_books_see_what_is_published_twice_or_not_at_all(
    events: list[Published], doubled: int, problem: str | None
) -> None:
    books = Books()
    for event in events:
        books.hear(event)
    assert books.counts["doubled"] == doubled
    assert len(books.problems) == (problem is not None)
    assert problem is None or problem in books.problems[0]


def test_a_callback_that_was_acknowledged_and_took_no_effect_is_lost(
    redis: Redis, settings: Settings
) -> None:
    books = Books()
    for number in range(3):
        books.send(ROOM, number)
    books.acknowledge(ROOM, 1)
    Comparison(settings, books).finish(redis)
    assert (books.counts["acknowledged"], books.counts["lost"]) == (1, 1)


def test_a_callback_that_was_applied_once_more_than_it_was_sent_is_a_double(
    redis: Redis, settings: Settings
) -> None:
    books = Books()
    redis.hset(keyspace_of(settings).shard(0).verdicts, "applied", 1)
    Comparison(settings, books).finish(redis)
    assert books.counts["doubled"] == 1
    assert books.problems == ["1 were applied, and the rooms know of 0"]
