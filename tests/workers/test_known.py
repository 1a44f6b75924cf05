"""What a process knows of rooms: only what nobody else has changed, and only so much."""

from __future__ import annotations

from typing import NoReturn

import pytest

from workers.batch import Hold
from workers.known import Kept, Known
from workers.records import NEW, Record

HOLD = Hold(3, "mine", "7:before")
AFTER = HOLD._replace(token=HOLD.next_token)
LATER = AFTER._replace(token=AFTER.next_token)
# Of two such rooms there is room for no third.
SIZE = 1_500_000


def record(number: int) -> Record:
    return NEW._replace(ledger=NEW.ledger._replace(revision=number))


def test_rooms_are_known_as_the_last_commit_left_them() -> None:
    known = Known()
    known.note(HOLD, AFTER, {"RM1": Kept(record(1), 10), "RM2": Kept(record(2), 10)})
    assert known.among(AFTER, ["RM2", "RM3"]) == {"RM2": record(2)}
    known.note(AFTER, LATER, {"RM1": Kept(record(5), 10), "RM2": None})
    assert known.among(LATER, ["RM1", "RM2"]) == {"RM1": record(5)}


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


# As the commit that was being noted left it, as a Redis has it that has lost that, or an empty one.
@pytest.mark.parametrize("token", [LATER.token, AFTER.token, ""])
def test_a_note_that_breaks_off_leaves_nothing_known_of_its_shard(token: str) -> None:
    class BreaksOff(dict[str, Kept | None]):
        def items(self) -> NoReturn:
            raise SystemExit

    known = Known()
    known.note(HOLD, AFTER, {"RM1": Kept(record(1), 10)})
    with pytest.raises(SystemExit):
        known.note(AFTER, LATER, BreaksOff())
    assert known.among(AFTER._replace(token=token), ["RM1"]) == {}


def test_what_is_known_of_all_shards_together_is_bounded() -> None:
    known = Known()
    afters = []
    for shard in range(4):
        hold = HOLD._replace(shard=shard)
        afters.append(hold._replace(token=hold.next_token))
        known.note(hold, afters[-1], {"RM1": Kept(record(shard), SIZE)})
    assert [bool(known.among(after, ["RM1"])) for after in afters] == [False, False, True, True]


def test_a_shard_that_others_have_committed_to_takes_no_room_from_the_rest() -> None:
    known = Known()
    calm = HOLD._replace(shard=4)
    known.note(calm, calm._replace(token=calm.next_token), {"RM4": Kept(record(4), SIZE)})
    known.note(HOLD, AFTER, {"RM1": Kept(record(1), SIZE)})
    assert known.among(AFTER._replace(token="9:theirs"), ["RM1"]) == {}
    other = HOLD._replace(shard=5)
    known.note(other, other._replace(token=other.next_token), {"RM5": Kept(record(5), SIZE)})
    assert known.among(calm._replace(token=calm.next_token), ["RM4"]) == {"RM4": record(4)}


def test_a_room_that_was_asked_for_lately_is_kept_for_longer_than_one_that_was_not() -> None:
    known = Known()
    known.note(HOLD, AFTER, {"RM1": Kept(record(1), SIZE), "RM2": Kept(record(2), SIZE)})
    assert known.among(AFTER, ["RM1"]) == {"RM1": record(1)}
    known.note(AFTER, LATER, {"RM3": Kept(record(3), SIZE)})
    assert known.among(LATER, ["RM1", "RM2", "RM3"]).keys() == {"RM1", "RM3"}


def test_the_rooms_that_were_heard_of_longest_ago_are_forgotten_first() -> None:
    known = Known()
    known.note(HOLD, AFTER, {"RM1": Kept(record(1), SIZE), "RM2": Kept(record(2), SIZE)})
    known.note(AFTER, LATER, {"RM1": Kept(record(3), SIZE), "RM3": Kept(record(4), SIZE)})
    assert known.among(LATER, ["RM1", "RM2", "RM3"]).keys() == {"RM1", "RM3"}
