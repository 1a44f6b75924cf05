"""A short fuzz of the running door; `make fuzz` is the long one. Both are tests/fuzz_door.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fuzz_door import Answer, Attack, Expects, Plan, attack, fault_of, fuzz, report

TAKEN, REFUSED = Answer(204, "", closes=False), Answer(403, "signature-missing", closes=False)
ONE = Attack("one", b"", Expects.REFUSED)


def test_two_thousand_hostile_requests_meet_no_500_no_hang_and_no_forgery_that_is_taken(
    tmp_path: Path,
) -> None:
    seen = fuzz(tmp_path, Plan(seed=1, requests=2000, connections=8))
    assert not seen.faults, report(seen)
    assert sum(seen.kinds.values()) == 2000
    assert seen.kinds["valid"] > 100
    assert seen.taken == seen.deposited


def test_a_request_is_made_from_the_seed_and_its_number_alone() -> None:
    assert [attack(7, n) for n in range(200)] == [attack(7, n) for n in reversed(range(200))][::-1]
    assert [attack(7, n) for n in range(200)] != [attack(8, n) for n in range(200)]


@pytest.mark.parametrize(
    ("one", "answers", "seconds", "fault"),
    [
        (ONE, [REFUSED], 0.1, ""),
        (ONE, [REFUSED], 1.1, "answered after 1.10 s"),
        (ONE, [TAKEN], 0.1, "answered [204], not REFUSED"),
        (ONE, [Answer(500, "internal", closes=False)], 0.1, "answered 500"),
        (ONE, [Answer(503, "", closes=True)], 0.1, "answered 503"),
        (ONE, [], 0.1, "hung up on after 0 of 1 answers"),
        (replace(ONE, may_close=True), [], 0.1, ""),
        (replace(ONE, expects=Expects.NOT_TAKEN), [TAKEN], 0.1, "answered [204], not NOT_TAKEN"),
        (replace(ONE, expects=Expects.TAKEN), [REFUSED], 0.1, "answered [403], not TAKEN"),
        (replace(ONE, expects=Expects.TAKEN), [TAKEN], 0.1, ""),
    ],
)
def test_what_must_not_come_of_a_request_is_a_fault(
    one: Attack, answers: list[Answer], seconds: float, fault: str
) -> None:
    assert fault_of(one, answers, seconds) == fault
