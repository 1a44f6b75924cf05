"""What a process knows of rooms: only what nobody else has changed, and only so much."""

from __future__ import annotations

from typing import NoReturn

import pytest

from workers.batch import Hold, Stored
from workers.known import Known

SHARDS = 8
HOLD = Hold(3, "mine", "7:before")
AFTER = HOLD._replace(token=HOLD.next_token)
LATER = AFTER._replace(token=AFTER.next_token)
# Of two such rooms a shard has room for no third.
LARGE = b"x" * 1_500_000


def stored(record: bytes = b"1") -> Stored:
    return Stored(record)


def test_rooms_are_known_as_the_last_commit_left_them() -> None:
    known = Known(SHARDS)
    known.note(HOLD, AFTER, {}, {"RM1": stored(b"1"), "RM2": stored(b"2")})
    assert known.among(AFTER, ["RM2", "RM3"]) == {"RM2": b"2"}
    known.note(AFTER, LATER, {}, {"RM1": stored(b"5")})
    assert known.among(LATER, ["RM1", "RM2"]) == {"RM1": b"5", "RM2": b"2"}


@pytest.mark.parametrize("left", [Stored(b""), Stored(b"", due_ms=5), Stored(b"stone", keep_ms=1)])
def test_what_was_left_as_it_was_or_expires_is_not_known(left: Stored) -> None:
    known = Known(SHARDS)
    known.note(HOLD, AFTER, {}, {"RM1": stored(b"1"), "RM2": stored(b"2")})
    known.note(AFTER, LATER, {}, {"RM1": left})
    assert known.among(LATER, ["RM1", "RM2"]) == {"RM2": b"2"}


def test_what_was_left_is_known_also_that_nothing_is_stored_of_a_room() -> None:
    known = Known(SHARDS)
    known.note(HOLD, AFTER, {"RM1": None, "RM2": b"2"}, {})
    assert known.among(AFTER, ["RM1", "RM2", "RM3"]) == {"RM1": None, "RM2": b"2"}
    known.note(AFTER, LATER, {"RM1": None}, {"RM2": stored(b"3")})
    assert known.among(LATER, ["RM1", "RM2"]) == {"RM1": None, "RM2": b"3"}


def test_nothing_is_known_when_somebody_else_has_committed() -> None:
    known = Known(SHARDS)
    known.note(HOLD, AFTER, {}, {"RM1": stored(b"1")})
    other = AFTER._replace(nonce="mine again", token="9:theirs")
    assert known.among(other, ["RM1"]) == {}
    known.note(other, other._replace(token=other.next_token), {}, {"RM2": stored(b"2")})
    # What was known before is not taken for known again.
    assert known.among(other._replace(token=other.next_token), ["RM1", "RM2"]) == {"RM2": b"2"}
    assert known.among(AFTER, ["RM1"]) == {}


def test_the_shards_are_known_apart() -> None:
    known = Known(SHARDS)
    known.note(HOLD, AFTER, {}, {"RM1": stored(b"1")})
    assert known.among(AFTER._replace(shard=4), ["RM1"]) == {}
    assert known.among(AFTER, ["RM1"]) == {"RM1": b"1"}


# As the commit that was being noted left it, as a Redis has it that has lost that, or an empty one.
@pytest.mark.parametrize("token", [LATER.token, AFTER.token, ""])
def test_a_note_that_breaks_off_leaves_nothing_known_of_its_shard(token: str) -> None:
    class BreaksOff(dict[str, Stored]):
        def items(self) -> NoReturn:
            raise SystemExit

    known = Known(SHARDS)
    known.note(HOLD, AFTER, {}, {"RM1": stored(b"1")})
    with pytest.raises(SystemExit):
        known.note(AFTER, LATER, {}, BreaksOff())
    assert known.among(AFTER._replace(token=token), ["RM1"]) == {}


def test_each_shard_has_its_part_of_the_space() -> None:
    known = Known(SHARDS)
    calm = HOLD._replace(shard=4)
    known.note(calm, calm._replace(token=calm.next_token), {}, {"RM9": stored(LARGE)})
    rooms = [f"RM{number}" for number in range(4)]
    known.note(HOLD, AFTER, {}, dict.fromkeys(rooms, stored(LARGE)))
    assert [*known.among(AFTER, rooms)] == ["RM2", "RM3"]
    assert known.among(calm._replace(token=calm.next_token), ["RM9"]) == {"RM9": LARGE}


def test_a_room_that_was_written_anew_takes_its_space_once() -> None:
    known = Known(SHARDS)
    hold, after = HOLD, AFTER
    for _ in range(5):
        known.note(hold, after, {}, {"RM1": stored(LARGE), "RM2": stored(LARGE)})
        hold, after = after, after._replace(token=after.next_token)
    assert known.among(hold, ["RM1", "RM2"]).keys() == {"RM1", "RM2"}


def test_what_is_known_not_to_be_there_takes_space_as_well() -> None:
    known = Known(SHARDS)
    rooms = [f"RM{number}" for number in range(20_000)]
    known.note(HOLD, AFTER, dict.fromkeys(rooms), {})
    left = known.among(AFTER, rooms)
    assert 1_000 < len(left) < 20_000
    assert [*left] == rooms[-len(left) :]


def test_a_room_that_was_asked_for_lately_is_kept_for_longer_than_one_that_was_not() -> None:
    known = Known(SHARDS)
    known.note(HOLD, AFTER, {}, {"RM1": stored(LARGE), "RM2": stored(LARGE)})
    assert known.among(AFTER, ["RM1"]) == {"RM1": LARGE}
    known.note(AFTER, LATER, {}, {"RM3": stored(LARGE)})
    assert known.among(LATER, ["RM1", "RM2", "RM3"]).keys() == {"RM1", "RM3"}


def test_the_rooms_that_were_heard_of_longest_ago_are_forgotten_first() -> None:
    known = Known(SHARDS)
    known.note(HOLD, AFTER, {}, {"RM1": stored(LARGE), "RM2": stored(LARGE)})
    known.note(AFTER, LATER, {}, {"RM1": stored(LARGE), "RM3": stored(LARGE)})
    assert known.among(LATER, ["RM1", "RM2", "RM3"]).keys() == {"RM1", "RM3"}
