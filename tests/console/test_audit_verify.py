"""`rollcall audit verify`: whatever is done to a log is caught, and told with the right word."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit_logs import (
    KEY,
    RECORDED,
    RECORDED_ROOM,
    STORM,
    STORM_ROOM,
    Verifier,
    changed,
    lines_of,
    resealed,
)
from audits import AuditOutput
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from logging_worker import LoggingWorker
from msgspec.structs import fields
from redis import Redis
from rooms import LAPTOP, PHONE, TABLET, connected, created, disconnected, ended
from timed import ARRIVED, BOUNDS, HOUR, MINUTE

from console.audit.claims import is_as_written
from console.audit.judgement import WORDS
from console.audit.reading import found_in
from console.audit.signatures import PublicKeys
from console.audit.sources import Line
from console.audit.verify import Demands
from ingest.inbox import Inbox
from schemas.audit_keys import SigningKey
from schemas.audit_records import RoomRecord
from schemas.errors import AuditOutputError
from schemas.keys import Keyspace, shard_of
from schemas.logs import Lines
from schemas.settings import Settings
from workers.bounds import bounds_of
from workers.drain import Drain
from workers.pseudonyms import Pseudonyms
from workers.scribe import Scribe
from workers.store import Store

ROLLCALL = Path(sys.executable).with_name("rollcall")

RECORD_TYPES = RoomRecord.__args__
BY_KEY = Demands(public_keys=(KEY.public.text,))
CLOSED = Demands(public_keys=(KEY.public.text,), closed=True)
OTHERS = b'{"event":"callback_accepted","process":"web","pid":1}\nplain words\n'


@pytest.fixture
def verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verifier:
    return Verifier(tmp_path, capsys)


def rest_resealed(lines: list[bytes], index: int) -> list[bytes]:
    """Change a record and give all that follow it new hashes, as whoever lacks the key would."""
    digest, line = resealed(lines[index], late=True)
    done = [*lines[:index], line]
    for following in lines[index + 1 :]:
        digest, line = resealed(following, prev=digest)
        done.append(line)
    return done


# -- a log that is whole -------------------------------------------------------------------------


def test_a_log_as_it_was_written_is_whole(verified: Verifier) -> None:
    said = verified(RECORDED + OTHERS + STORM)
    assert said.whole
    assert said.rooms == {RECORDED_ROOM: [], STORM_ROOM: []}
    assert said.summary["records"] == len(lines_of(RECORDED + STORM))
    assert said.summary["lines"] == said.summary["records"] + 2
    assert said.summary["closed"] == 1


def test_the_signature_of_a_closing_record_is_checked_with_the_public_key(
    verified: Verifier,
) -> None:
    said = verified(STORM, demands=CLOSED)
    assert said.whole
    assert said.summary["signed"] == 1


def test_any_order_and_any_number_of_files_are_whole(verified: Verifier) -> None:
    lines = lines_of(STORM + RECORDED)
    assert verified(b"".join(lines[::-2]), b"", b"".join(lines[::2]), OTHERS).whole


def test_identical_records_are_counted_and_no_fault(verified: Verifier) -> None:
    said = verified(STORM, STORM)
    assert said.whole
    assert said.summary["copies"] == len(lines_of(STORM))


@pytest.mark.parametrize("event", ["callback_applied", "timer_elapsed", "callback_set_aside"])
def test_a_line_that_was_torn_and_written_again_is_no_fault(event: str, verified: Verifier) -> None:
    lines = lines_of(STORM)
    entry = {"reason": "x", "detail": "x", "entry": {}, "key": "x", "noted": True}
    _, aside = resealed(
        lines[9], room_sid="shard-0", prev="a" * 64, event="callback_set_aside", **entry
    )
    record = next(line for line in [*lines[1:], aside] if json.loads(line)["event"] == event)
    whole = b"".join([*lines, *([aside] if record == aside else [])])
    before = verified(whole).rooms
    for torn in [record[:at] for at in range(60, len(record) - 1, 41)] + [record[200:-1]]:
        assert verified(torn + b"\n" + whole).rooms == before


def test_what_is_left_of_a_record_is_charged_to_the_room_that_it_names_itself(
    verified: Verifier,
) -> None:
    _, line = resealed(lines_of(STORM)[9], room_sid="shard-0")
    assert verified(line[:-20] + b"\n").rooms == {"shard-0": ["altered"]}


def test_a_line_that_is_being_written_is_not_there_yet(verified: Verifier) -> None:
    said = verified(STORM + lines_of(RECORDED)[0][:-30])
    assert said.whole
    assert said.summary["unfinished"] == 1
    lines = lines_of(STORM)
    cut = b"".join([*lines[:-1], lines[-1][:-30]])
    assert verified(cut, demands=CLOSED).rooms == {STORM_ROOM: ["open"]}


def begun_anew(time: str, **change: Any) -> list[bytes]:
    """A chain of two records beside that of the storm."""
    first = json.loads(lines_of(STORM)[0]) | {"time": time, "task_id": "another"}
    digest, line = resealed(json.dumps(first).encode())
    _, following = resealed(lines_of(STORM)[1], prev=digest, time=time, **change)
    return [line, following]


def test_a_room_that_begins_anew_long_after_it_was_closed_is_no_fork(verified: Verifier) -> None:
    anew = b"".join(begun_anew("2023-10-14T20:00:00.000Z"))
    assert verified(anew + STORM).whole
    # Nothing shows that it ends there.
    assert verified(anew + STORM, demands=BY_KEY).rooms == {STORM_ROOM: ["unproven"]}


@pytest.mark.parametrize("time", ["2023-08-14T21:00:00.000Z", "2023-01-14T20:00:00.000Z"])
def test_a_chain_beside_the_real_one_is_a_fork(time: str, verified: Verifier) -> None:
    forged = b"".join(begun_anew(time))
    assert verified(STORM + forged).rooms == {STORM_ROOM: ["forked"]}


def test_every_chain_of_a_room_must_end_signed_where_that_is_demanded(verified: Verifier) -> None:
    lines = lines_of(STORM)
    digest, line = resealed(lines[0], time="2023-01-14T20:00:00.000Z")
    forged = [line]
    for following in lines[1:]:
        digest, line = resealed(following, prev=digest, time="2023-01-14T20:00:00.000Z")
        forged.append(line)
    log = b"".join([*lines, *forged])
    assert verified(log).whole
    assert verified(log, demands=CLOSED).rooms == {STORM_ROOM: ["unsigned"]}


# -- what is done to it ---------------------------------------------------------------------------

Tampering = Callable[[list[bytes]], list[bytes]]


def without(index: int) -> Tampering:
    def remove(lines: list[bytes]) -> list[bytes]:
        del lines[index]
        return lines

    return remove


def contents_exchanged(lines: list[bytes]) -> list[bytes]:
    one, other = json.loads(lines[6]), json.loads(lines[9])
    lines[6] = changed(lines[6], lambda record: record.update(params=other["params"]))
    lines[9] = changed(lines[9], lambda record: record.update(params=one["params"]))
    return lines


def doubled_with_a_change(lines: list[bytes]) -> list[bytes]:
    return [*lines, changed(lines[6], lambda record: record.update(worker="another"))]


def doubled_with_a_change_and_a_new_hash(lines: list[bytes]) -> list[bytes]:
    return [*lines, resealed(lines[6], worker="another")[1]]


def numbers_exchanged(lines: list[bytes]) -> list[bytes]:
    lines[6], lines[7] = resealed(lines[6], n=8)[1], resealed(lines[7], n=7)[1]
    return lines


def moved_from_another_room(lines: list[bytes]) -> list[bytes]:
    stolen = json.loads(lines_of(RECORDED)[6]) | {"room_sid": STORM_ROOM, "n": 39}
    return [*lines, json.dumps(stolen).encode() + b"\n"]


def moved_from_another_room_with_a_new_hash(lines: list[bytes]) -> list[bytes]:
    return [*lines, resealed(lines_of(RECORDED)[6], room_sid=STORM_ROOM)[1]]


def said_twice(lines: list[bytes]) -> list[bytes]:
    # A reader that takes the first of two would be shown another parameter set.
    lines[6] = lines[6].replace(b'"params":{', b'"params":{},"params":{', 1)
    return lines


def signature_removed(lines: list[bytes]) -> list[bytes]:
    lines[-1] = changed(lines[-1], lambda record: record.pop("signature"))
    return lines


def closing_doubled_without_its_signature(lines: list[bytes]) -> list[bytes]:
    return [*signature_removed([*lines]), lines[-1]]


def whole_contents_exchanged_with_new_hashes(lines: list[bytes]) -> list[bytes]:
    one, other = ({**json.loads(lines[at])} for at in (6, 9))
    place = ("n", "prev", "hash")
    lines[6] = resealed(json.dumps(other).encode(), **{key: one[key] for key in place})[1]
    lines[9] = resealed(json.dumps(one).encode(), **{key: other[key] for key in place})[1]
    return lines


def moved_from_another_room_to_the_end(lines: list[bytes]) -> list[bytes]:
    end = json.loads(lines[-1])
    stolen = {"room_sid": STORM_ROOM, "n": end["n"] + 1, "prev": end["hash"]}
    return [*lines, resealed(lines_of(RECORDED)[6], **stolen)[1]]


@pytest.mark.parametrize("index", range(len(lines_of(STORM))))
def test_any_removed_line_is_caught(index: int, verified: Verifier) -> None:
    lines = lines_of(STORM)
    del lines[index]
    word = {0: "begins-late", len(lines): "unproven"}.get(index, "missing")
    assert verified(b"".join(lines), demands=BY_KEY).rooms == {STORM_ROOM: [word]}


@pytest.mark.parametrize(
    ("tampering", "word"),
    [
        (without(-1), "open"),
        (whole_contents_exchanged_with_new_hashes, "altered"),
        (moved_from_another_room_to_the_end, "open"),
        (contents_exchanged, "altered"),
        (doubled_with_a_change, "altered"),
        (doubled_with_a_change_and_a_new_hash, "forked"),
        (numbers_exchanged, "altered"),
        (moved_from_another_room, "altered"),
        (moved_from_another_room_with_a_new_hash, "altered"),
        (said_twice, "altered"),
        (signature_removed, "unsigned"),
        (closing_doubled_without_its_signature, "unsigned"),
        (lambda lines: rest_resealed(lines, 20), "unsigned"),
        (lambda lines: rest_resealed(lines, len(lines) - 1), "unsigned"),
    ],
)
def test_tampering_is_caught(tampering: Tampering, word: str, verified: Verifier) -> None:
    said = verified(b"".join(tampering(lines_of(STORM))), demands=CLOSED)
    assert not said.whole
    assert word in said.rooms[STORM_ROOM]


def one_of_each_kind() -> dict[str, bytes]:
    """A record of each kind, with each field that any of that kind has, but for `params`."""
    worker = LoggingWorker(Scribe(BOUNDS, pseudonyms=Pseudonyms("k" * 32), key=KEY))
    scene = [connected(PHONE, 0, "Dana") | {"Mood": "x"}, connected(LAPTOP, 60_000, "Dana")]
    worker.take([created(), *scene, scene[0]])
    worker.look(ARRIVED + MINUTE)
    # Redis's clock was set back.
    worker.take([disconnected(PHONE, 60_300, "Dana")], ARRIVED + 1)
    worker.take([scene[0] | {"Timestamp": "noon"}, created() | {"StatusCallbackEvent": "odd"}])
    worker.take([ended(90_000)], ARRIVED + 2 * MINUTE)
    worker.find_stalled(ARRIVED, ARRIVED + 3 * MINUTE)
    worker.look(ARRIVED + 30 * HOUR)
    worker.take([connected(TABLET, 0)], ARRIVED + 31 * HOUR)
    kinds: dict[str, bytes] = {}
    for line in lines_of(worker.log):
        record = json.loads(line)
        kind = record["event"] + ", of a shard" * record["room_sid"].startswith("shard-")
        if len(record) >= len(json.loads(kinds.get(kind, b"{}"))):
            kinds[kind] = line
    return kinds


KINDS = one_of_each_kind()


def test_records_of_every_kind_with_every_field_are_tampered_with() -> None:
    told = [json.loads(line) for line in KINDS.values()]
    assert {one["event"] for one in told} == {kind.__struct_config__.tag for kind in RECORD_TYPES}
    names = {"event", *(field.encode_name for kind in RECORD_TYPES for field in fields(kind))}
    assert {name for one in told for name in one} == names


@pytest.mark.parametrize("kind", KINDS)
def test_every_changed_byte_of_a_record_is_caught(kind: str) -> None:
    line = KINDS[kind][:-1]

    def is_whole(text: bytes) -> bool:
        whole = [one for one in found_in(Line(0, 1, text), text) if is_as_written(one)]
        return len(whole) == 1 and (b'"signature"' not in line or keys.have_signed(whole[0].record))

    keys = PublicKeys([KEY.public.text])
    assert is_whole(line)
    for at in range(len(line)):
        for other in {b"7", b"8", b'"', b" ", bytes([line[at] ^ 1])} - {line[at : at + 1]}:
            assert not is_whole(line[:at] + other + line[at + 1 :]), at


@pytest.mark.parametrize(
    ("index", "field"),
    [
        (index, field)
        # The first record with its terms, one in the middle, one of time alone, and the last one.
        for index in (0, 8, 15, len(lines_of(STORM)) - 1)
        for field in json.loads(lines_of(STORM)[index])
    ],
)
def test_a_changed_byte_in_any_field_is_caught(index: int, field: str, verified: Verifier) -> None:
    lines = lines_of(STORM)
    line, name = lines[index], b'"%s":' % field.encode()
    begin = line.index(name) + len(name)
    value = next(at for at in range(begin, len(line)) if chr(line[at]).isalnum() or line[at] == 93)
    for at in (begin - 3, value):
        lines[index] = line[:at] + (b"7" if line[at : at + 1] != b"7" else b"8") + line[at + 1 :]
        said = verified(b"".join(lines), demands=CLOSED)
        assert not said.whole
        words = {word for told in said.rooms.values() for word in told}
        assert words & {"altered", *(["unsigned"] if field == "signature" else [])}


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_flipped_bit_of_a_log_is_caught_or_harmless(
    data: st.DataObject, verified: Verifier
) -> None:
    log = OTHERS + STORM
    at = data.draw(st.integers(0, len(log) - 1))
    flipped = log[:at] + bytes([log[at] ^ 1 << data.draw(st.integers(0, 7))]) + log[at + 1 :]
    said = verified(flipped, demands=CLOSED)
    if at < len(OTHERS) - 1:
        assert said.whole
    elif not said.whole:
        assert set(said.summary["wrong"]) <= WORDS.keys()
    else:
        # The line ends otherwise, or a line of others has become longer.
        assert log[at : at + 1] == b"\n"


def test_without_the_key_a_log_may_be_written_anew_and_with_it_not(verified: Verifier) -> None:
    tampered = b"".join(rest_resealed(lines_of(STORM), 20))
    assert verified(tampered).whole
    assert verified(tampered, demands=BY_KEY).rooms == {STORM_ROOM: ["unsigned"]}


def test_a_room_whose_end_nothing_vouches_for_is_not_whole_where_that_is_demanded(
    verified: Verifier, settings: Settings, redis: Redis
) -> None:
    assert redis.dbsize() == 0
    lines = lines_of(STORM)[:-1]
    _, lines[-1] = resealed(lines[-1], worker="another")
    cut = b"".join(lines)
    assert verified(cut).whole
    # A Redis that does not know the room vouches for nothing.
    for demands in (BY_KEY, Demands(settings=settings), BY_KEY._replace(settings=settings)):
        said = verified(cut, demands=demands)
        assert said.rooms == {STORM_ROOM: ["unproven"]}
        assert said.summary["compared"] == (0 if demands.settings else None)
    assert verified(STORM, demands=BY_KEY._replace(settings=settings)).whole


def test_no_records_at_all_are_not_whole(verified: Verifier) -> None:
    said = verified(OTHERS)
    assert not said.whole
    assert (said.summary["records"], said.summary["all_whole"]) == (0, False)


def test_a_signature_of_somebody_else_is_none(verified: Verifier) -> None:
    other, _ = SigningKey.generated()
    said = verified(STORM, demands=Demands(public_keys=(other.public.text,)))
    assert said.rooms == {STORM_ROOM: ["unsigned"]}
    both = Demands(public_keys=(other.public.text, KEY.public.text))
    assert verified(STORM, demands=both).whole


@pytest.mark.parametrize(
    "odd", [{"event": None}, {"event": "callback_eaten"}, {"n": 2**70}, {"due": 7}, {"events": {}}]
)
def test_what_has_a_hash_and_is_no_record_is_altered_for_all_who_read(
    odd: dict[str, Any], verified: Verifier, tmp_path: Path
) -> None:
    lines = lines_of(STORM)
    _, line = resealed(lines[-1], **odd)
    log = b"".join([*lines[:-1], line])
    assert "altered" in {word for words in verified(log).rooms.values() for word in words}
    code, said, complaint = run("replay", "-", given=log)
    assert (code, complaint) == (3, "")
    assert said.endswith("not being as they were written: 1.\nNOT ALL COULD BE PLAYED\n")
    code, said, complaint = run("explain", STORM_ROOM, "-", given=log)
    assert (code, complaint) == (0, "")
    assert "NOT WHOLE: altered" in said


# -- beside what is live --------------------------------------------------------------------------


@pytest.fixture
def live(redis: Redis, settings: Settings, recorded_room: list[dict[str, str]]) -> bytes:
    """The log of a drain that has drained two rooms, and what it has stored is in Redis."""
    keyspace = Keyspace(settings.prefix)
    inbox = Inbox(redis, keyspace, settings.shards)
    store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
    audit = AuditOutput()
    drain = Drain(store, bounds_of(settings), Lines(audit.writing))
    for params in recorded_room:
        inbox.deposit(params, "")
        inbox.deposit(params | {"RoomSid": STORM_ROOM}, "")
    for shard in {shard_of(sid, settings.shards) for sid in (RECORDED_ROOM, STORM_ROOM)}:
        drain.drain(shard, {"task_id": "of-the-test"})
    log = audit.text()
    audit.close()
    return log


def test_a_log_that_ends_as_it_is_live_is_whole(
    live: bytes, verified: Verifier, settings: Settings
) -> None:
    said = verified(live, demands=Demands(settings=settings))
    assert said.whole
    assert said.summary["compared"] == 2
    assert said.rooms == {RECORDED_ROOM: [], STORM_ROOM: []}


def _of_room(log: bytes, room_sid: str) -> list[bytes]:
    return [line for line in lines_of(log) if json.loads(line)["room_sid"] == room_sid]


def test_a_removed_last_line_shows_beside_the_live_head(
    live: bytes, verified: Verifier, settings: Settings
) -> None:
    lines = _of_room(live, STORM_ROOM)
    log = b"".join([*_of_room(live, RECORDED_ROOM), *lines[:-1]])
    assert verified(log).whole
    said = verified(log, demands=Demands(settings=settings))
    assert said.rooms == {RECORDED_ROOM: [], STORM_ROOM: ["truncated"]}


def test_a_room_that_was_removed_shows_while_it_is_live(
    live: bytes, verified: Verifier, settings: Settings
) -> None:
    log = b"".join(_of_room(live, RECORDED_ROOM))
    said = verified(log, demands=Demands(settings=settings))
    assert said.rooms == {RECORDED_ROOM: [], STORM_ROOM: ["absent"]}


def test_records_that_are_kept_until_they_are_written_are_not_missing(
    redis: Redis, settings: Settings, recorded_room: list[dict[str, str]], verified: Verifier
) -> None:
    keyspace = Keyspace(settings.prefix)
    store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
    reading, writing = os.pipe()
    os.close(reading)
    inbox = Inbox(redis, keyspace, settings.shards)
    for params in recorded_room:
        inbox.deposit(params, "")
    with pytest.raises(AuditOutputError):
        Drain(store, bounds_of(settings), Lines(writing)).drain(
            shard_of(RECORDED_ROOM, settings.shards), {"task_id": "of-the-test"}
        )
    os.close(writing)
    said = verified(b"", demands=Demands(settings=settings))
    assert said.whole
    assert said.summary["kept"] == len(recorded_room)


def test_a_suffix_written_anew_shows_beside_the_live_head(
    live: bytes, verified: Verifier, settings: Settings
) -> None:
    lines = rest_resealed(_of_room(live, STORM_ROOM), 5)
    log = b"".join([*_of_room(live, RECORDED_ROOM), *lines])
    said = verified(log, demands=Demands(settings=settings))
    assert said.rooms == {RECORDED_ROOM: [], STORM_ROOM: ["altered"]}


def test_a_record_written_behind_the_live_head_shows(
    live: bytes, verified: Verifier, settings: Settings
) -> None:
    end = json.loads(_of_room(live, STORM_ROOM)[-1])
    forged = {"n": end["n"] + 1, "prev": end["hash"], "late": True}
    _, line = resealed(_of_room(live, STORM_ROOM)[-1], **forged)
    assert verified(live + line).whole
    said = verified(live + line, demands=Demands(settings=settings))
    assert said.rooms == {RECORDED_ROOM: [], STORM_ROOM: ["unknown"]}


def test_what_is_committed_while_the_files_are_read_is_no_fault(
    redis: Redis, settings: Settings, recorded_room: list[dict[str, str]]
) -> None:
    keyspace, audit = Keyspace(settings.prefix), AuditOutput()
    inbox = Inbox(redis, keyspace, settings.shards)
    store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
    drain = Drain(store, bounds_of(settings), Lines(audit.writing))
    shard, other = shard_of(RECORDED_ROOM, settings.shards), shard_of(STORM_ROOM, settings.shards)
    for params in recorded_room[:9]:
        inbox.deposit(params, "")
    drain.drain(shard, {"task_id": None})
    environment = {"PATH": os.environ["PATH"], "REDIS_URL": settings.redis_url}
    environment["ROLLCALL_PREFIX"] = settings.prefix
    command = [ROLLCALL, "audit", "verify", "--live", "--json", "-"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as verifying:
        assert verifying.stdin
        assert verifying.stdout
        # It has looked at Redis when it takes more than a pipe holds.
        verifying.stdin.write(OTHERS * 4_000)
        verifying.stdin.flush()
        for params in recorded_room[9:]:
            inbox.deposit(params, "")
            inbox.deposit(params | {"RoomSid": STORM_ROOM}, "")
        drain.drain(shard, {"task_id": None})
        drain.drain(other, {"task_id": None})
        said, _ = verifying.communicate(audit.text(), timeout=60)
    audit.close()
    *rooms, summary = map(json.loads, said.splitlines())
    assert {one["room_sid"]: one["findings"] for one in rooms} == {
        RECORDED_ROOM: [],
        STORM_ROOM: [],
    }
    assert (verifying.returncode, summary["compared"]) == (0, 2)


def test_the_chain_of_a_shard_is_compared_with_its_live_head(
    redis: Redis, settings: Settings, verified: Verifier
) -> None:
    keyspace, audit = Keyspace(settings.prefix), AuditOutput()
    store = Store(redis, keyspace, shards=settings.shards, maxlen=settings.events_maxlen)
    drain = Drain(store, bounds_of(settings), Lines(audit.writing))
    for shard in range(settings.shards):
        for _ in range(2):
            redis.xadd(keyspace.shard(shard).inbox, {"rubbish": uuid.uuid4().hex})
        drain.drain(shard, {"task_id": None})
    log = audit.text()
    audit.close()
    alive = Demands(settings=settings)
    shards = [f"shard-{shard}" for shard in range(settings.shards)]
    said = verified(log, demands=alive)
    assert said.rooms == {one: [] for one in shards}
    assert said.summary["compared"] == settings.shards
    cut = b"".join(line for line in lines_of(log) if json.loads(line)["n"] == 1)
    assert verified(cut, demands=alive).rooms == {one: ["truncated"] for one in shards}
    assert verified(b"", demands=alive).rooms == {one: ["absent"] for one in shards}


def test_each_record_of_a_shard_is_signed_since_it_is_never_over(verified: Verifier) -> None:
    signing, silent = LoggingWorker(Scribe(BOUNDS, key=KEY)), LoggingWorker()
    for worker in (signing, silent):
        for minutes in (1, 2):
            worker.find_stalled(ARRIVED, ARRIVED + minutes * MINUTE)
        worker.look(ARRIVED + HOUR)
    kinds = [one["event"] for one in signing.records()]
    assert kinds == ["timer_elapsed", "room_settled"] * 3
    assert verified(signing.log, demands=CLOSED).rooms == {"shard-0": []}
    code, said, _ = run("verify", "--key", KEY.public.text, "-", given=signing.log)
    assert (code, "shard-0  whole: 6 records, signed up to here" in said) == (0, True)
    lines = lines_of(signing.log)
    anew = b"".join(rest_resealed(lines, 2))
    assert verified(anew, demands=BY_KEY).rooms == {"shard-0": ["unsigned"]}
    assert verified(b"".join(lines[:-1]), demands=BY_KEY).rooms == {"shard-0": ["unproven"]}
    # Where nobody signs, there is nothing to close.
    assert {one["event"] for one in silent.records()} == {"timer_elapsed"}
    _, said, _ = run("verify", "--key", KEY.public.text, "-", given=silent.log)
    assert "the chain of an account or a shard is never over" in said


# -- the command ----------------------------------------------------------------------------------


def run(*arguments: str, given: bytes = b"", keys: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [ROLLCALL, "audit", *arguments],
        env={"PATH": os.environ["PATH"], "ROLLCALL_AUDIT_PUBLIC_KEY": keys},
        input=given,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_command_ends_with_0_only_when_all_is_whole() -> None:
    code, said, complaint = run("verify", "-", given=STORM)
    assert (code, complaint) == (0, "")
    assert f"{STORM_ROOM}  whole: {len(lines_of(STORM))} records, closed" in said
    assert said.endswith("WHOLE\n")
    code, said, _ = run("verify", "--quiet", "-", given=STORM.replace(b"Kim", b"Tim", 1) + RECORDED)
    assert code == 1
    assert f"{STORM_ROOM}  NOT WHOLE: altered\n" in said
    assert "n 2 in standard input:2 does not fit its hash" in said
    assert RECORDED_ROOM not in said
    assert said.endswith("NOT WHOLE\n")


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(OTHERS * 10_000 + STORM)
    assert run("verify", str(log))[2] == ""
    terminal, inside = pty.openpty()
    done = subprocess.run(
        [ROLLCALL, "audit", "verify", str(log)],
        stdout=subprocess.PIPE,
        stderr=inside,
        check=True,
        timeout=60,
    )
    os.close(inside)
    drawn = os.read(terminal, 65_536)
    os.close(terminal)
    assert b"Reading  [" in drawn
    assert b"100%" in drawn
    assert done.stdout.endswith(b"\nWHOLE\n")


def test_public_keys_may_come_from_the_environment(tmp_path: Path) -> None:
    other = SigningKey.generated()[0].public.text
    file = tmp_path / "audit.pub"
    file.write_text(KEY.public.text)
    for keys, ends_with in ((f"{other} {file}", 0), (KEY.public.text, 0), (other, 1), ("none", 2)):
        code, said, _ = run("verify", "-", given=STORM, keys=keys)
        assert code == ends_with, said
    assert "and signed" in run("verify", "-", given=STORM, keys=KEY.public.text)[1]
    assert "and signed" not in run("verify", "-", given=STORM)[1]


def test_a_private_key_given_by_mistake_is_not_shown(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(STORM)
    secret = "no key, and a secret"
    code, said, complaint = run("verify", "--key", secret, str(log))
    assert code == 2
    assert "no Ed25519 public key" in complaint
    assert secret not in said + complaint


def test_the_guide_says_what_every_word_means() -> None:
    guide = (Path(__file__).parent.parent.parent / "docs" / "worker-log.md").read_text()
    table = guide.partition("| what `verify` says | meaning |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert {word.strip("`"): meaning for word, meaning in rows} == WORDS
