"""`rollcall audit explain`: from a question about a room to the answer, out of the log alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from audit_logs import KEY, RECORDED, RECORDED_ROOM, STORM, STORM_ROOM, changed, lines_of
from audit_sample import Sent, log_of, recorded, storm
from audits import AuditOutput
from click.testing import CliRunner
from redis import Redis
from rooms import BOUNDS, LAPTOP, PHONE, connected, created, disconnected, ended
from strategies import ROOM, sid

from console.audit.explain import collect
from console.audit.narration import tell
from console.audit.rebuild import rebuild
from console.audit.sources import Sources
from console.audit.story import Story
from console.audit.words import clock, read_moment
from console.commands import rollcall
from ingest.inbox import Inbox
from schemas.errors import UnknownRoomError
from schemas.keys import Keyspace
from schemas.logs import Lines
from schemas.parsing import parse_timestamp
from schemas.settings import Settings
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.pseudonyms import Pseudonyms
from workers.room.view import view
from workers.scribe import Scribe
from workers.store import Store

ROLLCALL = Path(sys.executable).with_name("rollcall")

SECOND = 1_000_000


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A file with both rooms, the lines of one in another order, and lines of others."""
    log = tmp_path / "worker.log"
    log.write_bytes(b"starting\n" + b"".join(lines_of(STORM)[::-1]) + RECORDED)
    return log


def told(log: Path, room_sid: str) -> Story:
    return tell(rebuild(room_sid, collect(Sources([str(log)]), room_sid).records))


def told_of(tmp_path: Path, *sent: Sent) -> Story:
    log = tmp_path / "of-the-test.log"
    log.write_bytes(log_of(sent))
    return told(log, ROOM)


def soon(params: dict[str, str], *, after: int = 100_000) -> Sent:
    return Sent(params, parse_timestamp(params["Timestamp"]) + after)


def explained(*arguments: str, given: bytes = b"") -> str:
    done = subprocess.run(
        [ROLLCALL, "audit", "explain", *arguments],
        input=given,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""
    return done.stdout.decode()


# -- the recorded room ----------------------------------------------------------------------------


def test_who_was_in_the_recorded_room_at_a_time(logs: Path) -> None:
    story = told(logs, RECORDED_ROOM)
    there = {
        asked: [stay.identity for stay in story.there_at(read_moment(asked, story.span))]
        for asked in ("20:03:26", "20:10", "20:25", "20:26:15", "2023-08-14 20:26:10Z")
    }
    assert there == {
        "20:03:26": [],
        "20:10": ["Front Desk"],
        "20:25": ["Front Desk", "Visitor's Phone "],
        "20:26:15": ["Front Desk"],
        "2023-08-14 20:26:10Z": ["Front Desk"],
    }


def test_nobody_was_thrown_out_of_the_recorded_room_and_one_callback_was_not_heard(
    logs: Path,
) -> None:
    story = told(logs, RECORDED_ROOM)
    assert story.expulsions == []
    [gap] = story.gaps
    assert (gap.least, gap.most, gap.closed) == (16, 16, None)
    assert (clock(gap.span.start), clock(gap.span.end)) == ("20:26:09.498", "20:26:19.501")
    # Who came back was not heard to come, and is known from tracks.
    [_, again] = story.people["Visitor's Phone "]
    assert again.started_by is None
    assert again.still_there


def test_the_command_answers_from_a_real_drain(
    redis: Redis, settings: Settings, recorded_room: list[dict[str, str]]
) -> None:
    keyspace = Keyspace(settings.prefix)
    store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
    audit = AuditOutput()
    drain = Drain(store, bounds_of(settings), Lines(audit.writing))
    inbox = Inbox(redis, keyspace, settings.shards)
    for params in recorded_room:
        inbox.deposit(params, "")
    for shard in range(settings.shards):
        drain.drain(shard, {"task_id": "of-the-test"})
    log = audit.text()
    audit.close()
    said = explained("Room 1", "--at", "20:25", "-", given=log)
    assert "At 2023-08-14 20:25:00.000 UTC there were 2 people:" in said
    assert "The log of this room is whole: 18 records" in said
    assert said.count("Visitor's Phone") == 1


# -- the storm ------------------------------------------------------------------------------------


def test_who_threw_whom_out_is_told_with_the_callbacks_behind_it(logs: Path) -> None:
    story = told(logs, STORM_ROOM)
    shown = [
        (clock(one.at), one.evicted.number, one.survivor.number, one.gap_ms)
        for one in story.expulsions
    ]
    assert shown == [
        ("20:00:52.084", 1, 2, 84),
        ("20:00:57.384", 2, 3, 84),
        ("20:01:01.984", 3, 4, 84),
        ("20:01:06.284", 4, 5, 84),
        ("20:01:11.884", 5, 6, 84),
    ]
    first = story.expulsions[0]
    assert [one.callback and one.callback.event for one in first.evidence] == [
        "participant-disconnected",
        "participant-connected",
    ]
    ids = [json.loads(line)["callback_id"] for line in lines_of(STORM) if b"callback_id" in line]
    assert {one.id for one in first.evidence} <= set(ids)
    assert {one.identity for one in story.expulsions} == {"Dana"}


def test_what_was_missed_and_what_came_late_or_twice_is_told(logs: Path) -> None:
    story = told(logs, STORM_ROOM)
    never, later = story.gaps
    assert (never.least, never.most, never.closed) == (25, 25, None)
    assert (later.least, later.most) == (6, 6)
    assert later.found is not None
    assert later.closed is not None
    assert later.closed - later.found == 3_120_000
    odd = [(one.verdict, one.late) for one in story.heard if one.late or one.verdict != "applied"]
    assert odd == [("applied", True), ("duplicate", False)]


def test_alerts_are_told_from_when_to_when_at_their_worst(logs: Path) -> None:
    story = told(logs, STORM_ROOM)
    shown = {
        (one.name, one.severity, one.times, clock(one.raised), clock(one.resolved or 0))
        for one in story.alarms
    }
    end = "20:03:24.120"
    assert shown == {
        ("duplicate-identity", "critical", 3, "20:00:52.204", end),
        ("eviction-storm", "critical", 5, "20:01:02.104", end),
        ("missed-callbacks", "warning", 1, "20:01:03.000", "20:01:06.120"),
        ("missed-callbacks", "warning", 1, "20:02:54.000", end),
    }


def test_a_track_is_told_with_the_times_at_which_it_was_muted(logs: Path) -> None:
    [kim] = told(logs, STORM_ROOM).people["Kim"]
    [audio, video] = kim.tracks
    assert [(clock(one.start), clock(one.end)) for one in audio.muted] == [
        ("20:00:45.000", "20:01:23.500")
    ]
    assert video.muted == []
    assert audio.span == video.span._replace(start=audio.span.start)


def test_the_story_believes_what_the_facts_say(logs: Path) -> None:
    rebuilt = rebuild(STORM_ROOM, collect(Sources([str(logs)]), STORM_ROOM).records)
    believed = view(rebuilt.facts, rebuilt.bounds)
    story = tell(rebuilt)
    assert {one.participant_sid for one in story.stays} == believed.sessions.keys()
    assert {one.evicted.participant_sid for one in story.expulsions} == believed.evictions.keys()


def test_the_text_tells_it_all_and_of_one_person_no_more_than_is_asked(logs: Path) -> None:
    whole = explained("Team Room", str(logs))
    assert "Dana was thrown out of session 1" in whole
    assert "Kim muted audio" in whole
    assert "eviction-storm" in whole
    assert "1 callback never heard: #25" in whole
    kim = explained(STORM_ROOM, "--identity", "Kim", str(logs))
    assert "Kim muted audio" in kim
    assert "Dana" not in kim


def test_the_first_lines_answer_what_is_asked_most(logs: Path) -> None:
    said = explained(STORM_ROOM, str(logs)).splitlines()
    assert said[3] == (
        "In short: 3 people in 8 sessions; Dana thrown out 5 times; 1 callback never heard."
    )
    said = explained(RECORDED_ROOM, str(logs)).splitlines()
    assert said[3] == (
        "In short: 2 people in 3 sessions; nobody thrown out; 1 callback never heard."
    )
    said = explained(STORM_ROOM, "--identity", "Kim", str(logs)).splitlines()
    assert said[3].startswith("In short: 1 person in 1 session; nobody thrown out;")


def test_blanks_at_the_ends_of_a_name_are_seen(logs: Path) -> None:
    asked = ["audit", "explain", RECORDED_ROOM, "--identity", "Visitor's Phone", str(logs)]
    done = CliRunner().invoke(rollcall, asked)
    assert done.exit_code == 2
    assert "There were: Front Desk, “Visitor's Phone ”." in done.output
    said = explained(RECORDED_ROOM, "--identity", "Visitor's Phone ", str(logs))
    assert "  “Visitor's Phone ” came (session 1" in said


def test_what_came_late_is_told_of_whom_it_is(logs: Path) -> None:
    late = "track-disabled of Kim, PA38d056eb, came late, 21.1 s after it had happened"
    assert late in explained(STORM_ROOM, str(logs))
    assert late not in explained(STORM_ROOM, "--identity", "Dana", str(logs))


def test_one_person_is_asked_for_at_a_moment(logs: Path) -> None:
    said = explained(STORM_ROOM, "--at", "20:01", "--identity", "Kim", str(logs))
    assert "UTC Kim was there:\n" in said
    assert "Dana" not in said
    said = explained(STORM_ROOM, "--at", "20:00:01", "--identity", "Dana", str(logs))
    assert "UTC Dana was not there.\n" in said


@pytest.mark.parametrize(("moment", "where"), [("03:00", "before"), ("23:00", "after")])
def test_a_moment_at_which_nothing_was_heard_yet_or_any_more_is_said_to_be_one(
    moment: str, where: str, logs: Path
) -> None:
    said = explained(STORM_ROOM, "--at", moment, str(logs))
    assert f"At 2023-08-14 {moment}:00.000 UTC there was nobody.\n" in said
    assert f"  That is {where} anything that was heard of this room" in said


def test_a_person_who_was_never_there_is_an_error_that_lists_who_was(logs: Path) -> None:
    done = CliRunner().invoke(
        rollcall, ["audit", "explain", STORM_ROOM, "--identity", "Eve", str(logs)]
    )
    assert done.exit_code == 2
    assert "nobody in this room is called 'Eve'. There were: Dana, Kim, Robin." in done.output


# -- whatever else a log may hold -----------------------------------------------------------------


def test_sessions_that_a_worker_has_let_go_are_told_in_full(tmp_path: Path) -> None:
    hour = 3_600_000
    story = told_of(
        tmp_path,
        *map(soon, [created(), connected(PHONE, 1_000), disconnected(PHONE, 9_000)]),
        *map(soon, [connected(LAPTOP, hour), disconnected(LAPTOP, hour + 5_000)]),
        soon(ended(2 * hour)),
    )
    assert [one.participant_sid for one in story.people["Dana"]] == [PHONE, LAPTOP]


def test_an_eviction_that_was_taken_back_is_told(tmp_path: Path) -> None:
    first, last, between = PHONE, LAPTOP, sid("PA", 9)
    story = told_of(
        tmp_path,
        *map(soon, [created(), connected(first, 0), connected(last, 5_000)]),
        soon(disconnected(first, 5_100)),
        soon(connected(between, 4_950), after=9_000_000),
    )
    [one] = story.withdrawn
    assert (one.evicted_sid, one.survivor_sid) == (first, last)
    assert one.believed.end - one.believed.start == 8_750_000
    assert [one.survivor.participant_sid for one in story.expulsions] == [between]


def test_several_rooms_of_one_name_are_listed(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    another = log_of(
        Sent(one.params | {"RoomSid": sid("RM", 7), "RoomName": "Team Room"}, one.arrives)
        for one in recorded()
    )
    log.write_bytes(STORM + another)
    done = subprocess.run(
        [ROLLCALL, "audit", "explain", "Team Room", str(log)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert STORM_ROOM in done.stdout
    assert sid("RM", 7) in done.stdout


def test_a_room_that_is_not_in_the_files_is_an_error(logs: Path) -> None:
    with pytest.raises(UnknownRoomError, match=sid("RM", 9)):
        told(logs, sid("RM", 9))


def test_what_was_altered_is_not_told_and_that_is_said(tmp_path: Path) -> None:
    lines = lines_of(STORM)
    lines[1] = changed(lines[1], lambda record: record["params"].update(ParticipantIdentity="Tim"))
    log = tmp_path / "worker.log"
    log.write_bytes(b"".join(lines))
    said = explained(STORM_ROOM, str(log))
    assert "Tim" not in said
    assert "The log of this room is NOT WHOLE: altered" in said


def test_a_log_with_hashed_identities_tells_the_same_under_other_names(tmp_path: Path) -> None:
    pseudonyms = Pseudonyms("a key of the test")
    log = tmp_path / "worker.log"
    log.write_bytes(log_of(storm(), Scribe(BOUNDS, pseudonyms=pseudonyms, key=KEY)))
    story = told(log, STORM_ROOM)
    assert set(story.people) == {pseudonyms.of(name) for name in ("Kim", "Dana", "Robin")}
    assert story.name == pseudonyms.of("Team Room")
    assert len(story.expulsions) == 5
    assert all(len(one.evidence) == 2 for one in story.expulsions)
    assert "Dana" not in explained(pseudonyms.of("Team Room"), str(log))


def test_who_has_the_key_asks_a_hashed_log_by_names_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(log_of(storm(), Scribe(BOUNDS, pseudonyms=Pseudonyms("a key of the test"))))
    asked = ["audit", "explain", "Team Room", "--identity", "Dana", str(log)]
    refused = CliRunner().invoke(rollcall, asked)
    assert isinstance(refused.exception, UnknownRoomError)
    assert "The names are hashed" in str(refused.exception)
    monkeypatch.setenv("ROLLCALL_AUDIT_IDENTITY_KEY", "a key of the test")
    said = CliRunner().invoke(rollcall, asked)
    assert said.exit_code == 0, said.output
    assert "was thrown out of session 1" in said.output
    assert Pseudonyms("a key of the test").of("Kim") not in said.output


def test_what_a_terminal_would_obey_is_escaped(tmp_path: Path) -> None:
    name = "\x1b[31mEve\u202e\n\x07"
    log = tmp_path / "worker.log"
    log.write_bytes(log_of(map(soon, [created(), connected(PHONE, 0, name)])))
    said = explained(ROOM, str(log))
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert "\\x1b[31mEve\\u202e\\n\\x07" in said


@pytest.mark.parametrize("moment", ["25:00", "noon", "20:61", "2023-13-01T00:00"])
def test_a_time_that_is_none_is_refused(logs: Path, moment: str) -> None:
    done = subprocess.run(
        [ROLLCALL, "audit", "explain", STORM_ROOM, "--at", moment, str(logs)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert moment in done.stderr
