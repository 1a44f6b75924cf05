"""The lines that a person reads: one for every type of the contract, and never an escape code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.sentences import printable, sentence

ROOM = {"room_sid": "RM1", "room_name": "Room 1"}
WHO = {"identity": "Visitor's Phone "}
PAIR = {"evicted_sid": "PA1", "survivor_sid": "PA2", "gap_ms": 300}
TRACK = WHO | {"kind": "audio"}
ALERT = {"alert": "duplicate-identity", "severity": "info", "summary": "Dana was thrown out."}

TYPES: dict[str, tuple[dict[str, Any], str]] = {
    "room.opened": ({"room_type": "group"}, "opened  (group)"),
    "room.closed": (
        {"duration_seconds": 622, "end": "room-ended"},
        "closed after 622 s  (room-ended)",
    ),
    "room.settled": ({}, "settled"),
    "room.gap-found": ({"missing": [[16, 16]]}, "missing: sequence numbers [[16, 16]]"),
    "room.gap-closed": ({"missing": [[16, 16]]}, "no longer missing"),
    "participant.joined": (WHO, "Visitor's Phone   joined"),
    "participant.left": (
        WHO | {"duration_seconds": 184, "cause": "disconnected"},
        "Visitor's Phone   left after 184 s",
    ),
    "participant.evicted": (WHO | PAIR, "evicted"),
    "participant.eviction-retracted": (WHO | PAIR, "was not evicted after all"),
    "identity.arrived": (WHO, "arrived"),
    "identity.departed": (WHO, "departed"),
    "identity.contested": (WHO | {"participant_sids": ["PA1", "PA2"]}, "connected 2 times at once"),
    "identity.uncontested": (WHO | {"participant_sids": ["PA2"]}, "connected once again"),
    "track.published": (TRACK, "published audio"),
    "track.unpublished": (
        TRACK | {"cause": "participant-left"},
        "unpublished audio  (participant-left)",
    ),
    "track.enabled": (TRACK, "unmuted audio"),
    "track.disabled": (TRACK, "muted audio"),
    "recording.started": (WHO | {"recording_sid": "RT1"}, "recording started  (RT1)"),
    "recording.completed": (WHO | {"recording_sid": "RT1"}, "recording completed  (RT1)"),
    "recording.failed": (WHO | {"recording_sid": "RT1"}, "recording FAILED  (RT1)"),
    "composition.progress": (
        {"composition_sid": "CJ1", "percentage_done": 40},
        "composition progress 40 %  (CJ1)",
    ),
    "composition.available": ({"composition_sid": "CJ1"}, "composition available  (CJ1)"),
    "callback.unrecognised": ({"event": "room-painted"}, "not known here: room-painted"),
    "alert.raised": (ALERT, "ALERT raised  info duplicate-identity: Dana was thrown out."),
    "alert.changed": (ALERT, "ALERT changed"),
    "alert.resolved": (ALERT, "ALERT resolved"),
}


def event(name: str, data: dict[str, Any]) -> dict[str, str]:
    return {
        "type": f"rollcall.{name}",
        "time": "2023-08-14T20:26:09.498Z",
        "subject": "PA1",
        "roomsid": "RM1",
        "data": json.dumps(data),
    }


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_a_line(name: str) -> None:
    data, told = TYPES[name]
    line = sentence(event(name, ROOM | data))
    assert line.startswith("20:26:09.498  Room 1   ")
    assert told in line


def test_a_type_that_is_not_known_is_shown_as_it_is() -> None:
    line = sentence(event("room.painted", ROOM | {"colour": "grün"}))
    assert "room.painted" in line
    assert '"colour": "grün"' in line


def test_an_inferred_join_says_so() -> None:
    assert "inferred" in sentence(event("participant.joined", ROOM | WHO | {"inferred": True}))


def test_a_room_without_a_name_is_called_by_its_sid() -> None:
    assert "  RM1   " in sentence(event("room.opened", ROOM | {"room_name": None}))


def test_an_empty_identity_is_not_replaced() -> None:
    assert "somebody" not in sentence(event("participant.joined", ROOM | {"identity": ""}))


@pytest.mark.parametrize("text", ["\x1b[2J", "\r\n", "\x07", "\x9b31m", "\u202e", "\u2028", "\x00"])
def test_what_a_terminal_might_obey_is_escaped(text: str) -> None:
    line = sentence(event("participant.joined", {"room_name": text, "identity": f"Eve{text}"}))
    assert line.isprintable()
    assert "Eve\\" in line


def test_ordinary_text_stays_as_it_is() -> None:
    assert printable("Zoë  Müller 李 🙂 ") == "Zoë  Müller 李 🙂 "


@given(
    fields=st.dictionaries(
        st.sampled_from(["type", "time", "subject", "roomsid", "data"]), st.text(), max_size=5
    )
)
def test_whatever_the_fields_hold_there_is_one_line(fields: dict[str, str]) -> None:
    assert sentence(fields).isprintable()


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(name=st.sampled_from(sorted(TYPES)), values=st.lists(_anything, min_size=20, max_size=20))
def test_data_of_another_shape_makes_a_line_too(name: str, values: list[Any]) -> None:
    known = sorted({key for data, _ in TYPES.values() for key in ROOM | data})
    assert sentence(event(name, dict(zip(known, values, strict=False)))).isprintable()
