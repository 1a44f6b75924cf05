"""The error tree: every leaf has a reason word of its own, and a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from schemas import errors
from schemas.errors import (
    MalformedError,
    RefusedError,
    RepeatedParameterError,
    RollcallError,
    ValueTooLongError,
)


def _subclasses(of: type[RollcallError]) -> Iterator[type[RollcallError]]:
    for one in of.__subclasses__():
        if one.__module__ == errors.__name__:
            yield one
            yield from _subclasses(one)


MEMBERS = sorted(_subclasses(RollcallError), key=lambda one: one.__name__)
LEAVES = [one for one in MEMBERS if not any(issubclass(o, one) for o in MEMBERS if o is not one)]


def made(kind: type[RollcallError]) -> RollcallError:
    if kind is RepeatedParameterError:
        return RepeatedParameterError(["RoomName", "Mood"])
    if kind is ValueTooLongError:
        return ValueTooLongError(["RoomName"])
    if kind is MalformedError:
        return MalformedError({"Timestamp": ["Not text."], "RoomSid": ["Missing."]})
    return kind()


def test_the_reasons_are_words_and_no_two_leaves_share_one() -> None:
    reasons = [one.__dict__["reason"] for one in LEAVES]
    assert len(set(reasons)) == len(reasons)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", reason) for reason in reasons)


@pytest.mark.parametrize("kind", LEAVES)
def test_the_docstring_is_the_message(kind: type[RollcallError]) -> None:
    assert kind.__doc__
    assert kind.__doc__.endswith(".")
    assert "\n" not in kind.__doc__
    assert str(made(kind)).startswith(kind.__doc__)


def test_a_better_message_takes_its_place() -> None:
    assert str(errors.StartError("The port is taken.")) == "The port is taken."


def test_what_is_at_fault_is_in_the_message_and_at_hand() -> None:
    repeated, malformed = made(RepeatedParameterError), made(MalformedError)
    assert str(repeated).endswith("Repeated: RoomName, Mood.")
    assert str(malformed).endswith("At fault: RoomSid, Timestamp.")
    assert isinstance(repeated, RepeatedParameterError)
    assert isinstance(malformed, MalformedError)
    assert repeated.names == ["RoomName", "Mood"]
    assert malformed.fields["RoomSid"] == ["Missing."]


def test_refusals_have_the_reasons_and_statuses_of_the_contract() -> None:
    refusals = {
        one.reason: one.status
        for one in LEAVES
        if issubclass(one, RefusedError) and one is not RefusedError
    }
    assert refusals == {
        "signature-missing": 403,
        "signature-mismatch": 403,
        "account-not-allowed": 403,
        "repeated-parameter": 400,
        "malformed": 400,
        "too-many-parameters": 400,
        "value-too-long": 400,
        "wrong-content-type": 400,
        "wrong-encoding": 400,
        "too-old": 400,
        "too-large": 413,
        "too-slow": 408,
        "method-not-allowed": 405,
        "not-found": 404,
        "unavailable": 503,
    }
    # Twilio's webhooks support no rate limiting (error 11217), so 429 would only lose callbacks.
    assert 429 not in refusals.values()
