"""docs/semantics.md: it is what the heart does, and has what it must have."""

from __future__ import annotations

import pytest
from semantics import DOCUMENT, SITUATIONS, document

from schemas.alerts import ALERTS
from schemas.events import DERIVED_EVENTS, TYPE_PREFIX

# Those that no situation is about: a callback is passed on, or what is wrong is not about a room.
TOLD_ELSEWHERE = ("rollcall.composition.", "rollcall.recording.started", "rollcall.track.enabled")


def test_the_document_is_what_the_heart_does() -> None:
    assert DOCUMENT.read_text() == document()


def test_at_least_thirty_situations_are_told() -> None:
    assert len({situation.title for situation in SITUATIONS}) == len(SITUATIONS) >= 30


@pytest.mark.parametrize("number", range(1, 11))
def test_each_complaint_of_those_who_use_it_has_a_row(number: int) -> None:
    rows = [one for one in DOCUMENT.read_text().splitlines() if one.startswith("| ")]
    assert any(f"omplaint {number}:" in row or _among(number, row) for row in rows)


def _among(number: int, row: str) -> bool:
    return any(f"Complaints {one} and {two}:" in row for one, two in _pairs(number))


def _pairs(number: int) -> list[tuple[int, int]]:
    return [(number, other) for other in range(1, 11)] + [(other, number) for other in range(1, 11)]


def test_every_kind_of_event_and_alert_occurs() -> None:
    text = DOCUMENT.read_text()
    events = [one for one in DERIVED_EVENTS if not one.startswith(TOLD_ELSEWHERE)]
    assert [one for one in events if f"`{one.removeprefix(TYPE_PREFIX)}`" not in text] == []
    assert {one for one in ALERTS if f"`{one}`" not in text} == {
        # No story of a room leads to these: a callback that nobody can read, and workers away.
        "callback-set-aside",
        "inbox-stalled",
    }
