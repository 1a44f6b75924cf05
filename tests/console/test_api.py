"""Snapshots, from records that a real drain made: what is in them, and how to go on from one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from readers import SHOWN, believed
from redis import Redis
from rooms import (
    LAPTOP,
    MICROPHONE,
    PHONE,
    TABLET,
    Params,
    connected,
    created,
    disconnected,
    ended,
    track,
)
from strategies import ROOM, sid
from streams import Published, folded, published

from console.api import create_app
from schemas.keys import Keyspace, shard_of
from schemas.settings import Settings
from workers import records
from workers.bounds import bounds_of
from workers.room.diff import Event
from workers.room.fold import fold
from workers.room.view import RoomView, View, view

Play = Callable[..., None]
# Nobody is waited for: with these, time alone changes something after almost every callback.
IMPATIENT = {"gap_ms": 0, "linger_ms": 0}

MORNING = [
    created(),
    connected(PHONE, 1_000),
    track("added", PHONE, 1_000),
    track("disabled", PHONE, 2_000),
    connected(TABLET, 5_000, "Robin "),
    track("added", TABLET, 6_000, MICROPHONE, "Robin "),
]
NOON = [
    connected(LAPTOP, 60_000),
    disconnected(PHONE, 60_300),
    track("removed", TABLET, 61_000, MICROPHONE, "Robin "),
    disconnected(TABLET, 62_000, "Robin "),
]


def read(api: FlaskClient, path: str = f"/api/rooms/{ROOM}", **query: Any) -> dict[str, Any]:
    answer = api.get(path, query_string=query, headers=SHOWN)
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    return answer.json


def in_room(number: int, name: str = "Room 1") -> list[Params]:
    """The beginning of another room."""
    room = {"RoomSid": sid("RM", number), "RoomName": name}
    return [created() | room, connected(sid("PA", number), 1_000) | room]


def listed(api: FlaskClient, **query: Any) -> list[str]:
    """The SIDs of all pages, in their order."""
    sids: list[str] = []
    while True:
        page = read(api, "/api/rooms", **query)
        assert len(page["rooms"]) <= query.get("limit", 100)
        assert page["unread"] == []
        sids += [room["room"]["room_sid"] for room in page["rooms"]]
        if page["next"] is None:
            return sids
        query["cursor"] = page["next"]


def continued(snapshot: dict[str, Any], events: list[Published]) -> View:
    """What the consumer believes after the events that the snapshot does not know of yet."""
    told = [
        Event(one.kind, one.attributes["subject"], 0, one.data)
        for one in events
        if one.attributes["roomsid"] == snapshot["room"]["room_sid"]
        and int(one.attributes["roomrevision"]) > snapshot["revision"]
    ]
    return reduce(fold, told, believed(snapshot))


def stored_view(redis: Redis, settings: Settings) -> View:
    keys = Keyspace(settings.prefix).shard(shard_of(ROOM, settings.shards))
    facts = records.decode(redis.get(keys.room(ROOM))).facts
    return view(facts, bounds_of(settings))


def numbered(history: list[Params], order: list[int]) -> list[Params]:
    """The same with sequence numbers, in the order in which they arrive."""
    return [history[number] | {"SequenceNumber": str(number)} for number in order]


@pytest.mark.parametrize("settings", [{}, IMPATIENT], indirect=True)
@pytest.mark.parametrize("order", [range(11), [0, 2, 1, 3, 6, 5, 4, 9, 7, 8, 10], [4, 3, 6, 2, 0]])
def test_a_snapshot_and_the_events_after_it_give_the_view(
    api: FlaskClient, play: Play, redis: Redis, settings: Settings, order: list[int]
) -> None:
    history = numbered([*MORNING, *NOON, ended(90_000)], order)
    snapshots = []
    for params in history:
        play(params)
        snapshots.append(read(api))
    events, last = published(redis), stored_view(redis, settings)
    assert last == folded(events)
    assert last.room == RoomView(closed=10 in order)
    assert len({one["revision"] for one in snapshots}) > 2
    for snapshot in snapshots:
        assert continued(snapshot, events) == last


def test_a_snapshot_is_what_the_events_up_to_it_give(
    api: FlaskClient, play: Play, redis: Redis
) -> None:
    for params in [*MORNING, *NOON]:
        play(params)
        snapshot, events = read(api), published(redis)
        assert believed(snapshot) == folded(events)
        assert str(snapshot["revision"]) == events[-1].attributes["roomrevision"]
        assert snapshot["last_event_id"] == events[-1].attributes["id"]


def test_a_consumer_that_notes_its_place_first_misses_nothing(
    api: FlaskClient, play: Play, redis: Redis, settings: Settings
) -> None:
    play(*MORNING)
    place = redis.xrevrange("rollcall:events", count=1)[0][0]
    # What happens between the two is in the snapshot and comes again; the revision tells.
    play(*NOON[:2])
    snapshot = read(api)
    play(*NOON[2:])
    after = redis.xrange("rollcall:events", min=b"(" + place)
    assert len(after) < redis.xlen("rollcall:events")
    events = published(redis)[-len(after) :]
    assert int(events[0].attributes["roomrevision"]) <= snapshot["revision"]
    assert continued(snapshot, events) == stored_view(redis, settings)


def test_the_words_are_those_of_the_events(api: FlaskClient, play: Play) -> None:
    play(*MORNING, *NOON)
    snapshot = read(api)
    assert snapshot["room"] == {
        "room_sid": ROOM,
        "room_name": "Room 1",
        "room_type": "group",
        "closed": False,
        "inferred": False,
        "opened_at": "2023-08-14T20:00:00.000Z",
        "closed_at": None,
        "duration_seconds": None,
        "end": None,
    }
    sessions = {one["participant_sid"]: one for one in snapshot["sessions"]}
    assert sessions[PHONE] == {
        "participant_sid": PHONE,
        "identity": "Dana",
        "left": True,
        "inferred": False,
        "joined_at": "2023-08-14T20:00:01.000Z",
        "left_at": "2023-08-14T20:01:00.300Z",
        "duration_seconds": 59,
        "cause": "disconnected",
        "evicted_by": LAPTOP,
    }
    assert sessions[LAPTOP]["left_at"] is sessions[LAPTOP]["cause"] is None
    tracks = {one["track_sid"]: one for one in snapshot["tracks"]}
    assert tracks[MICROPHONE] == {
        "track_sid": MICROPHONE,
        "participant_sid": TABLET,
        "identity": "Robin ",
        "kind": "video",
        "name": "camera",
        "unpublished": True,
        "enabled": True,
        "inferred": False,
        "published_at": "2023-08-14T20:00:06.000Z",
        "unpublished_at": "2023-08-14T20:01:01.000Z",
        "cause": "removed",
    }
    # Identities are compared byte for byte, the blank at the end included. Robin has left a moment
    # ago, and may yet come back.
    assert snapshot["identities"] == [
        {"identity": "Dana", "here": True, "contested": False, "participant_sids": [LAPTOP]},
        {"identity": "Robin ", "here": True, "contested": False, "participant_sids": []},
    ]


def test_what_is_wrong_is_told_as_the_stream_of_alerts_has_it(
    api: FlaskClient, play: Play, redis: Redis
) -> None:
    play(*MORNING, *NOON)
    snapshot = read(api)
    (raised,) = published(redis, "rollcall:alerts")
    assert snapshot["alerts"] == [raised.data]
    assert snapshot["last_alert_id"] == raised.attributes["id"]
    assert snapshot["alert_revision"] == int(raised.attributes["roomalert"])
    play(ended(90_000))
    assert read(api)["alerts"] == []


def test_open_rooms_are_listed_each_once_whatever_the_limit(api: FlaskClient, play: Play) -> None:
    rooms = {sid("RM", number): in_room(number) for number in range(1, 40)}
    play(*(one for room in rooms.values() for one in room))
    closed = sid("RM", 7)
    play(ended(9_000) | {"RoomSid": closed})
    for limit in (1, 7, 100):
        sids = listed(api, limit=limit)
        assert len(sids) == len(set(sids))
        assert set(sids) == rooms.keys() - {closed}
    assert read(api, f"/api/rooms/{closed}")["room"]["closed"] is True


@pytest.mark.parametrize("settings", [{"shards": 1}], indirect=True)
def test_many_rooms_of_a_shard_are_listed_in_pages_that_stay_small(
    api: FlaskClient, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = {sid("RM", number): in_room(number) for number in range(1, 200)}
    play(*(one for room in rooms.values() for one in room))
    # Several steps to list the keys, and a page that is full after two or three rooms.
    monkeypatch.setattr("console.rooms._KEYS", 10)
    monkeypatch.setattr("console.rooms._PAGE_BYTES", 2_000)
    page = read(api, "/api/rooms")
    assert 1 < len(page["rooms"]) < 10
    assert listed(api) == sorted(rooms)


def test_a_listed_room_is_the_same_as_one_that_is_asked_for(api: FlaskClient, play: Play) -> None:
    play(*MORNING, *NOON)
    assert read(api, "/api/rooms") == {"rooms": [read(api)], "unread": [], "next": None}


def test_no_open_room_is_missed_while_all_of_them_move(api: FlaskClient, play: Play) -> None:
    rooms = {sid("RM", number): in_room(number) for number in range(1, 20)}
    play(*(one for room in rooms.values() for one in room))
    sids: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = read(api, "/api/rooms", **query)
        sids += [room["room"]["room_sid"] for room in page["rooms"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
        # Each has another due moment now.
        play(*(connected(LAPTOP, 2_000 + len(sids)) | {"RoomSid": one} for one in rooms))
    assert set(sids) == rooms.keys()


def test_rooms_are_found_by_name_and_one_name_may_be_that_of_several(
    api: FlaskClient, play: Play
) -> None:
    for number, name in enumerate(("Team", "Team", "team", "Café ☕"), start=1):
        play(*in_room(number, name))
    assert set(listed(api, name="Team", limit=1)) == {sid("RM", 1), sid("RM", 2)}
    assert listed(api, name="Café ☕") == [sid("RM", 4)]
    assert listed(api, name="Tea") == []


def test_a_room_that_is_only_recorded_is_not_known(api: FlaskClient, play: Play) -> None:
    recording = created() | {
        "StatusCallbackEvent": "recording-started",
        "RecordingSid": sid("RT", 1),
        "SourceSid": MICROPHONE,
        "ParticipantSid": PHONE,
    }
    play(recording)
    assert api.get(f"/api/rooms/{ROOM}", headers=SHOWN).status_code == 404
    assert listed(api) == []


def test_a_consumer_that_knows_it_already_is_told_so(api: FlaskClient, play: Play) -> None:
    play(*MORNING)
    first = api.get(f"/api/rooms/{ROOM}", headers=SHOWN)
    assert first.json is not None
    assert first.headers["ETag"] == f'W/"{first.json["last_event_id"]}"'
    knowing = SHOWN | {"If-None-Match": first.headers["ETag"]}
    again = api.get(f"/api/rooms/{ROOM}", headers=knowing)
    assert (again.status_code, again.data) == (304, b"")
    # An alert makes another answer, too.
    play(*NOON)
    later = api.get(f"/api/rooms/{ROOM}", headers=knowing)
    assert later.json is not None
    assert (
        later.headers["ETag"] == f'W/"{later.json["last_event_id"]}+{later.json["last_alert_id"]}"'
    )


def test_the_console_needs_no_right_but_to_read(play: Play, redis: Redis, asked: Settings) -> None:
    play(*MORNING)
    rules = ["reset", "on", ">of-a-reader", "~*", "+get", "+mget", "+zscan"]
    redis.execute_command("ACL", "SETUSER", "reader", *rules)
    try:
        host = urlsplit(asked.redis_url).netloc.rpartition("@")[2]
        reader = replace(asked, redis_url=f"redis://reader:of-a-reader@{host}/0")
        api = create_app(reader).test_client()
        assert api.get("/readyz").status_code == 200
        assert listed(api) == [ROOM]
        assert read(api)["room"]["room_sid"] == ROOM
    finally:
        redis.execute_command("ACL", "DELUSER", "reader")
