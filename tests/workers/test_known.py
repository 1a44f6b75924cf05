"""What a process knows of rooms: only what nobody else has changed, and only so much."""

from __future__ import annotations

from workers.batch import Hold
from workers.known import Kept, Known
from workers.records import NEW, Record

HOLD = Hold(3, "mine", "7:before")
AFTER = HOLD._replace(token=HOLD.next_token)
SIZE = 400_000


def record(number: int) -> Record:
    return NEW._replace(ledger=NEW.ledger._replace(revision=number))


def test_rooms_are_known_as_the_last_commit_left_them() -> None:
    known = Known()
    known.note(HOLD, AFTER, {"RM1": Kept(record(1), 10), "RM2": Kept(record(2), 10)})
    assert known.among(AFTER, ["RM2", "RM3"]) == {"RM2": record(2)}
    later = AFTER._replace(token=AFTER.next_token)
    known.note(AFTER, later, {"RM1": Kept(record(5), 10), "RM2": None})
    assert known.among(later, ["RM1", "RM2"]) == {"RM1": record(5)}


def test_nothing_is_known_when_somebody_else_has_committed() -> None:
    known = Known()
    known.note(HOLD, AFTER, {"RM1": Kept(record(1), 10)})
    other = AFTER._replace(nonce="mine again", token="9:theirs")
    assert known.among(other, ["RM1"]) == {}
    known.note(other, other._replace(token=other.next_token), {"RM2": Kept(record(2), 10)})
    # What was known before is not taken for known again.
    assert known.among(other._replace(token=other.next_token), ["RM1", "RM2"]) == {"RM2": record(2)}


def test_the_shards_are_known_apart() -> None:
    known = Known()
    known.note(HOLD, AFTER, {"RM1": Kept(record(1), 10)})
    assert known.among(AFTER._replace(shard=4), ["RM1"]) == {}


def test_the_rooms_that_were_heard_of_longest_ago_are_forgotten_first() -> None:
    known = Known()
    known.note(HOLD, AFTER, {"RM1": Kept(record(1), SIZE), "RM2": Kept(record(2), SIZE)})
    later = AFTER._replace(token=AFTER.next_token)
    known.note(AFTER, later, {"RM1": Kept(record(3), SIZE), "RM3": Kept(record(4), SIZE)})
    assert known.among(later, ["RM1", "RM2", "RM3"]).keys() == {"RM1", "RM3"}
