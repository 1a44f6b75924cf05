"""What is believed of rooms, sessions and tracks, and in what order it is said."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise, permutations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rooms import (
    BOUNDS,
    CAMERA,
    LAPTOP,
    MICROPHONE,
    PHONE,
    callback,
    concluded,
    connected,
    created,
    disconnected,
    ended,
    facts_of,
    heard,
    track,
)
from strategies import ACCOUNT, ROOM, sid

from workers.intake import callback_from
from workers.room.conclude import conclude
from workers.room.diff import Event
from workers.room.fold import fold
from workers.room.view import View, view


def test_a_late_disconnect_does_not_remove_a_rejoined_participant() -> None:
    events, _ = concluded(
        [connected(PHONE, 0), connected(LAPTOP, 60_000), disconnected(PHONE, 30_000)]
    )
    assert [(e.kind, e.subject) for e in events if e.kind == "participant.left"] == [
        ("participant.left", PHONE)
    ]


def test_a_track_before_its_participant_does_not_look_like_joining_twice() -> None:
    assert heard([track("added", PHONE, 0), connected(PHONE, 1)]) == [
        ("room.opened", ROOM),
        ("participant.joined", PHONE),
        ("track.published", CAMERA),
    ]


def test_an_end_heard_first_implies_the_joining_and_says_that_it_is_inferred() -> None:
    events, _ = concluded([disconnected(PHONE, 60_000, duration=10)])
    assert [(e.kind, e.data.get("inferred")) for e in events] == [
        ("room.opened", True),
        ("participant.joined", True),
        ("participant.left", None),
    ]
    joined, left = events[1], events[2]
    assert left.at - joined.at == 10_999_000
    assert left.data["duration_seconds"] == 10


def test_a_room_end_heard_first_opens_and_closes_the_room() -> None:
    events, _ = concluded([ended(312_000, duration=312), created()])
    assert [(e.kind, e.data.get("inferred")) for e in events] == [
        ("room.opened", True),
        ("room.closed", None),
    ]
    assert events[1].data["duration_seconds"] == 312
    assert events[1].data["end"] == "room-ended"
    assert events[1].at - events[0].at == 312_000_000


def test_closing_a_room_takes_everybody_and_everything_along_from_the_inside_out() -> None:
    events, _ = concluded(
        [created(), connected(PHONE, 1_000), track("added", PHONE, 1_000), ended(61_500)]
    )
    assert [(e.kind, e.data.get("cause")) for e in events[3:]] == [
        ("track.unpublished", "room-closed"),
        ("participant.left", "room-closed"),
        ("room.closed", None),
    ]
    assert events[4].data["duration_seconds"] == 60


def test_after_the_room_closed_its_own_disconnects_say_nothing_new() -> None:
    history = [created(), connected(PHONE, 0), ended(60_000)]
    assert heard([*history, disconnected(PHONE, 60_100)]) == heard(history)


def test_a_session_heard_of_after_the_end_joins_and_leaves_at_once() -> None:
    events = heard([created(), ended(60_000), connected(PHONE, 1_000)])
    assert events[2:] == [("participant.joined", PHONE), ("participant.left", PHONE)]


def test_a_track_starts_enabled_and_says_nothing_of_it() -> None:
    history = [track("added", PHONE, 0), track("enabled", PHONE, 10)]
    assert [kind for kind, _ in heard(history)] == [
        "room.opened",
        "participant.joined",
        "track.published",
    ]


def test_a_mute_heard_before_its_track_implies_the_publishing() -> None:
    events, _ = concluded([track("disabled", PHONE, 100), track("added", PHONE, 0)])
    assert [(e.kind, e.data.get("inferred")) for e in events[2:]] == [
        ("track.published", True),
        ("track.disabled", None),
    ]


def test_mute_and_unmute_in_the_wrong_order_leave_the_track_enabled() -> None:
    mute, unmute = track("disabled", PHONE, 100), track("enabled", PHONE, 200)
    kinds = [kind for kind, _ in heard([track("added", PHONE, 0), unmute, mute])]
    assert "track.disabled" not in kinds


def test_of_mute_and_unmute_in_one_millisecond_the_sequence_number_decides() -> None:
    mute = track("disabled", PHONE, 100) | {"SequenceNumber": "8"}
    unmute = track("enabled", PHONE, 100) | {"SequenceNumber": "7"}
    for order in permutations([mute, unmute]):
        switched = facts_of(order).sessions[PHONE].tracks[CAMERA].switched
        assert switched
        assert not switched.enabled


def test_unpublishing_ends_disabled_silently() -> None:
    events = heard(
        [track("added", PHONE, 0), track("disabled", PHONE, 10), track("removed", PHONE, 20)]
    )
    assert events[-1] == ("track.unpublished", CAMERA)
    assert ("track.enabled", CAMERA) not in events


def test_a_track_heard_of_after_its_participant_left_is_gone_at_once() -> None:
    events, _ = concluded(
        [connected(PHONE, 0), disconnected(PHONE, 60_000), track("added", PHONE, 1_000)]
    )
    assert [(e.kind, e.data.get("cause")) for e in events[-2:]] == [
        ("track.published", None),
        ("track.unpublished", "participant-left"),
    ]


def test_leaving_takes_the_tracks_along_before_it_is_said() -> None:
    events, _ = concluded(
        [
            connected(PHONE, 0),
            track("added", PHONE, 0),
            track("added", PHONE, 0, MICROPHONE),
            track("removed", PHONE, 10),
            disconnected(PHONE, 60_000),
        ]
    )
    assert [(e.kind, e.subject) for e in events[-2:]] == [
        ("track.unpublished", MICROPHONE),
        ("participant.left", PHONE),
    ]


RECORDING = {
    "RecordingSid": sid("RT", 1),
    "ParticipantSid": PHONE,
    "SourceSid": CAMERA,
    "ParticipantIdentity": "Dana",
    "Codec": "vp8",
}


def test_recordings_and_compositions_make_nothing_known_but_themselves() -> None:
    events, _ = concluded(
        [
            callback("recording-started", 0, **RECORDING),
            callback("composition-started", 5, CompositionSid=sid("CJ", 1)),
        ]
    )
    assert [(e.kind, e.subject) for e in events] == [
        ("recording.started", sid("RT", 1)),
        ("composition.started", sid("CJ", 1)),
    ]
    assert events[0].data == {
        "room_sid": ROOM,
        "room_name": "Room 1",
        "recording_sid": sid("RT", 1),
        "participant_sid": PHONE,
        "track_sid": CAMERA,
        "identity": "Dana",
        "codec": "vp8",
    }


def test_a_recording_is_told_once_a_stage_in_any_order() -> None:
    stages = [callback(f"recording-{stage}", 0, **RECORDING) for stage in ("started", "completed")]
    for order in permutations(stages * 2):
        assert sorted(heard(order)) == [
            ("recording.completed", sid("RT", 1)),
            ("recording.started", sid("RT", 1)),
        ]


def test_each_percentage_of_a_composition_is_told_once() -> None:
    steps = [
        callback("composition-progress", at, CompositionSid=sid("CJ", 1), PercentageDone=done)
        for at, done in enumerate(("10", "20", "10"))
    ]
    events, _ = concluded([*steps, steps[0]])
    assert [event.data["percentage_done"] for event in events] == [10, 20]


def test_a_hook_that_failed_is_told_by_the_hooks_sid() -> None:
    failed = callback("composition-hook-failed", 0, HookSid=sid("HK", 7), ErrorMessage="full")
    events, _ = concluded([failed])
    assert [(e.kind, e.subject) for e in events] == [("composition.hook-failed", sid("HK", 7))]
    assert events[0].data["error_message"] == "full"


def test_an_unknown_event_is_passed_on_whole_and_makes_nothing_known() -> None:
    unknown = callback("participant-reconnecting", 0, ParticipantSid=PHONE, Reason="network")
    events, _ = concluded([unknown, unknown])
    (event,) = events
    assert (event.kind, event.subject) == ("callback.unrecognised", ROOM)
    assert event.data["event"] == "participant-reconnecting"
    assert event.data["params"] == unknown


def test_an_unknown_event_without_a_room_belongs_to_its_account() -> None:
    unknown = {"AccountSid": ACCOUNT, "StatusCallbackEvent": "video-retired"}
    events, _ = concluded([unknown])
    assert [(event.kind, event.subject) for event in events] == [("callback.unrecognised", ACCOUNT)]


def test_an_unknown_parameter_is_reported_once_a_room_and_the_event_still_counts() -> None:
    one = connected(PHONE, 0) | {"Mood": "fine"}
    two = connected(LAPTOP, 0) | {"Mood": "better"}
    events, _ = concluded([one, two])
    reports = [event.data for event in events if event.kind == "callback.unrecognised"]
    assert [report["params"] for report in reports] == [{"Mood": "fine"}]
    joined = [event.subject for event in events if event.kind == "participant.joined"]
    assert joined == [PHONE, LAPTOP]


def test_a_callback_is_late_when_others_happened_more_than_five_seconds_later() -> None:
    facts = facts_of([connected(LAPTOP, 10_000)])
    for at, late in ((5_000, False), (4_999, True)):
        callback_ = callback_from(connected(PHONE, at), 0)
        assert conclude(facts, callback_, BOUNDS).late is late


def test_hearing_only_a_sequence_number_is_news_and_hearing_it_again_is_not() -> None:
    once = connected(PHONE, 0) | {"SequenceNumber": "3"}
    again = connected(PHONE, 0) | {"SequenceNumber": "5"}
    facts = facts_of([once])
    outcome = conclude(facts, callback_from(again, 0), BOUNDS)
    assert (outcome.verdict, outcome.events) == ("applied", [])
    assert [(one.least, one.most) for one in outcome.facts.sequences] == [(3, 3), (5, 5)]
    again_outcome = conclude(outcome.facts, callback_from(again, 0), BOUNDS)
    assert again_outcome.verdict == "duplicate"


def test_every_unknown_event_is_passed_on_even_when_two_have_the_same_parameters() -> None:
    one = callback("room-painted", 0, Colour="red")
    two = callback("room-painted", 0, Colour="blue")
    events, _ = concluded([one, two, one])
    assert [event.data["params"]["Colour"] for event in events] == ["red", "blue"]


def test_each_set_of_unknown_parameters_is_reported_once_an_event_in_whatever_order() -> None:
    mood, brand = {"Mood": "fine"}, {"Brand": "new"}
    events, _ = concluded(
        [
            connected(PHONE, 0) | mood | brand,
            connected(PHONE, 1) | brand | mood,
            connected(PHONE, 2) | brand,
            disconnected(PHONE, 3) | brand,
        ]
    )
    reports = [event.data for event in events if event.kind == "callback.unrecognised"]
    assert [(report["event"], set(report["params"])) for report in reports] == [
        ("participant-connected", {"Mood", "Brand"}),
        ("participant-connected", {"Brand"}),
        ("participant-disconnected", {"Brand"}),
    ]
    assert all(report["known_event"] for report in reports)


def test_an_unknown_parameter_of_a_recording_is_reported_beside_it() -> None:
    history = [callback("recording-started", 0, **RECORDING, Mood="fine")]
    assert heard(history) == [
        ("recording.started", sid("RT", 1)),
        ("callback.unrecognised", ROOM),
    ]


def test_what_a_composition_does_not_tell_is_not_in_its_event() -> None:
    events, _ = concluded([callback("composition-started", 0, CompositionSid=sid("CJ", 1))])
    assert events[0].data.keys() == {"room_sid", "room_name", "composition_sid"}


def test_a_room_has_the_name_told_last_by_event_time_in_every_event() -> None:
    new = connected(PHONE, 60_000) | {"RoomName": "New"}
    old = callback("recording-started", 0, **RECORDING) | {"RoomName": "Old"}
    events, _ = concluded([new, old])
    assert {event.data["room_name"] for event in events} == {"New"}


UNDATED = {
    "AccountSid": ACCOUNT,
    "RoomSid": ROOM,
    "RoomName": "Elsewhere",
    "StatusCallbackEvent": "room-painted",
}


def test_the_arrival_of_an_undated_event_is_no_time_to_conclude_from() -> None:
    facts = facts_of([connected(PHONE, 0)])
    for arrived in (0, facts.latest * 2):
        outcome = conclude(facts, callback_from(UNDATED, arrived), BOUNDS)
        assert (outcome.verdict, outcome.late) == ("unrecognised", False)
        assert (outcome.facts.latest, outcome.facts.name) == (facts.latest, facts.name)
        assert [event.at for event in outcome.events] == [arrived]
        again = conclude(outcome.facts, callback_from(UNDATED, arrived + 1), BOUNDS)
        assert (again.verdict, again.events) == ("duplicate", [])
        assert again.facts is outcome.facts


def test_a_callback_exactly_five_seconds_behind_is_not_late_and_a_microsecond_more_is() -> None:
    facts = facts_of([connected(LAPTOP, 10_000)])
    for decimals, late in (("5.000000", False), ("4.999999", True)):
        told = connected(PHONE, 0) | {"Timestamp": f"2023-08-14T20:00:0{decimals}Z"}
        assert conclude(facts, callback_from(told, 0), BOUNDS).late is late


def test_a_session_starts_with_its_connect_callback_even_when_a_track_came_a_moment_before() -> (
    None
):
    # As recorded: a track was added 1 ms before its own participant connected.
    told = [track("added", PHONE, 0), connected(PHONE, 1), disconnected(PHONE, 2_000)]
    for history in permutations(told):
        session = facts_of(history).sessions[PHONE]
        assert session.connected
        assert session.start == session.connected.at == session.first.at + 1_000
        (left,) = [e for e in concluded(history)[0] if e.kind == "participant.left"]
        believed = view(facts_of(history), BOUNDS).sessions[PHONE]
        assert (believed.duration_seconds, believed.inferred) == (1, False)
        assert left.subject == PHONE


def test_a_room_starts_with_its_room_created_even_when_something_came_before() -> None:
    for history in permutations([track("added", PHONE, 0), created(1_000), ended(61_500)]):
        believed = view(facts_of(history), BOUNDS).room
        assert believed
        assert (believed.duration_seconds, believed.inferred) == (60, False)


def test_a_room_that_was_heard_of_late_starts_as_its_duration_tells() -> None:
    for history in permutations([connected(PHONE, 50_000), ended(61_500, duration=60)]):
        facts = facts_of(history)
        assert facts.ended
        assert facts.start == facts.ended.at - 60_000_000


def test_folding_mute_and_unmute_gives_the_view() -> None:
    story = [
        track("added", PHONE, 0),
        track("disabled", PHONE, 10),
        track("enabled", PHONE, 20),
        track("disabled", PHONE, 30),
        disconnected(PHONE, 40),
        ended(50),
    ]
    for length in range(len(story) + 1):
        events, _ = concluded(story[:length], people=True)
        assert reduce(fold, events, View()) == view(facts_of(story[:length]), BOUNDS)


@pytest.mark.parametrize(
    "kind",
    ["room.painted", "track.painted", "participant.painted", "identity.painted", "opened", "room."],
)
def test_a_kind_of_event_that_is_not_known_is_not_folded(kind: str) -> None:
    with pytest.raises(ValueError, match="not a derived event"):
        fold(View(), Event(kind, ROOM, 0, {"participant_sid": PHONE, "survivor_sid": PHONE}))


def test_the_events_of_a_track_tell_whose_it_is_what_it_is_and_when() -> None:
    story = [
        track("added", PHONE, 1),
        track("disabled", PHONE, 20),
        track("enabled", PHONE, 300),
        track("removed", PHONE, 4_000),
    ]
    events, _ = concluded(story)
    start = events[0].at - 1_000
    place = {"room_sid": ROOM, "room_name": "Room 1"}
    whose = {**place, "participant_sid": PHONE, "identity": "Dana", "kind": "video"}
    assert [(e.kind, e.at - start, e.data) for e in events[2:]] == [
        ("track.published", 1_000, {**whose, "name": "camera", "inferred": False}),
        ("track.disabled", 20_000, whose),
        ("track.enabled", 300_000, whose),
        ("track.unpublished", 4_000_000, {**whose, "name": "camera", "cause": "removed"}),
    ]


def test_of_two_times_told_the_earlier_one_counts_for_starts_and_for_ends() -> None:
    twice = [
        (created(), created(5)),
        (ended(90_000), ended(90_001)),
        (connected(PHONE, 10), connected(PHONE, 11)),
        (disconnected(PHONE, 50_000), disconnected(PHONE, 50_001)),
        (track("added", PHONE, 20), track("added", PHONE, 21)),
        (track("removed", PHONE, 30), track("removed", PHONE, 31)),
    ]
    for early, late in twice:
        # Each alone, so that nothing else of the room tells a time.
        alone = facts_of([early])
        for history in ([early, late], [late, early]):
            facts = facts_of(history)
            assert view(facts, BOUNDS) == view(alone, BOUNDS)
            assert repr(view(facts, BOUNDS)) == repr(view(alone, BOUNDS))


@given(st.lists(st.integers(0, 20)) | st.permutations(range(6)))
@example([0, 1, 2, 3])
@example([3, 2, 1, 0])
@example([0, 2, 1, 3])
def test_the_sequence_numbers_heard_are_kept_as_ranges_without_a_hole(numbers: list[int]) -> None:
    told = [created() | {"SequenceNumber": str(number)} for number in numbers]
    ranges = facts_of([created(), *told]).sequences
    told = [number for one in ranges for number in range(one.least, one.most + 1)]
    assert told == sorted(set(numbers))
    # The fewest ranges that there are: between any two lies a number that was not heard.
    assert all(one.most + 1 < two.least for one, two in pairwise(ranges))


def test_an_unknown_parameter_with_a_comma_in_its_name_is_not_taken_for_two() -> None:
    told = [connected(PHONE, 0) | {"A": "", "B": ""}, connected(PHONE, 0) | {"A,B": ""}]
    reports = [e for e in concluded(told)[0] if e.kind == "callback.unrecognised"]
    assert [set(report.data["params"]) for report in reports] == [{"A", "B"}, {"A,B"}]


def test_of_two_texts_told_in_one_millisecond_the_greater_sequence_number_decides() -> None:
    older = connected(PHONE, 0, "Zoe") | {"SequenceNumber": "7", "RoomName": "Z"}
    newer = connected(PHONE, 0, "Ann") | {"SequenceNumber": "8", "RoomName": "A"}
    for history in ([older, newer], [newer, older]):
        believed = view(facts_of(history), BOUNDS)
        assert (believed.room_name, believed.sessions[PHONE].identity) == ("A", "Ann")


@pytest.mark.parametrize("first", ["7", "8"])
def test_of_two_ends_told_in_one_millisecond_the_lesser_sequence_number_decides(first: str) -> None:
    second = {"7": "8", "8": "7"}[first]
    one = ended(90_000, duration=int(first)) | {"SequenceNumber": first}
    other = ended(90_000, duration=int(second)) | {"SequenceNumber": second}
    for history in ([one, other], [other, one]):
        room = view(facts_of(history), BOUNDS).room
        assert room
        assert room.duration_seconds == 7
    gone = disconnected(PHONE, 90_000, duration=int(first)) | {"SequenceNumber": first}
    again = disconnected(PHONE, 90_000, duration=int(second)) | {"SequenceNumber": second}
    assert view(facts_of([gone, again]), BOUNDS).sessions[PHONE].duration_seconds == 7
