"""Intake: the callback that the heart takes, from the parameters as they were received."""

from __future__ import annotations

import json
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from rooms import ARRIVED, PHONE, callback, connected, created
from strategies import ACCOUNT, ROOM, START, sid

from workers.intake import callback_from
from workers.room.value import replace


def test_a_callback_is_named_by_the_digest_of_its_parameters() -> None:
    params = connected(PHONE, 0, "Zoë")
    canonical = json.dumps(params, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert callback_from(params, ARRIVED).id == sha256(canonical.encode()).digest()[:8]


@given(st.permutations(list(connected(PHONE, 0).items())), st.integers(0, 2**50))
def test_a_repetition_has_the_same_name_whenever_and_in_whatever_order_it_comes(
    items: list[tuple[str, str]], arrived: int
) -> None:
    again = callback_from(dict(items), arrived)
    assert again == replace(callback_from(connected(PHONE, 0), ARRIVED), arrived=arrived)


def test_anything_that_differs_makes_another_callback() -> None:
    one = connected(PHONE, 0)
    others = [one | {"Mood": "fine"}, one | {"RoomName": "Room 1 "}, connected(PHONE, 1)]
    assert len({callback_from(params, ARRIVED).id for params in (one, *others)}) == 4


def test_a_callback_has_its_own_time_and_an_undated_one_that_of_its_arrival() -> None:
    assert callback_from(created(7), ARRIVED).at == (START + 7) * 1000
    assert callback_from(created(7), ARRIVED).dated
    undated = {"AccountSid": ACCOUNT, "StatusCallbackEvent": "video-retired", "Timestamp": "noon"}
    taken = callback_from(undated, ARRIVED)
    assert (taken.at, taken.dated, taken.room_sid) == (ARRIVED, False, ACCOUNT)


def test_a_callback_without_a_number_has_none() -> None:
    assert callback_from(created() | {"SequenceNumber": "0"}, ARRIVED).sequence == 0
    assert callback_from(created(), ARRIVED).sequence == -1
    assert callback_from(created() | {"SequenceNumber": "many"}, ARRIVED).sequence == -1
    # Recordings are documented to carry none; should one come, it is no number of the room's.
    recording = callback("recording-started", 0, RecordingSid=sid("RT", 1), SequenceNumber="7")
    assert callback_from(recording, ARRIVED).sequence == -1


def test_what_is_strange_is_kept_as_it_came() -> None:
    told = created() | {"Mood": "fine ", "SequenceNumber": "many", "TrackSid": "of no concern"}
    taken = callback_from(told, ARRIVED)
    assert taken.strange == {"Mood": "fine ", "SequenceNumber": "many"}
    assert (taken.room_sid, taken.account_sid, taken.event) == (ROOM, ACCOUNT, "room-created")
    unknown = told | {"StatusCallbackEvent": "room-painted"}
    assert callback_from(unknown, ARRIVED).strange == unknown
