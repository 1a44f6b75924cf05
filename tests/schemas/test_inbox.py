"""Inbox entries: what the door deposits is what the drain reads, in the same order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import IndigestibleError
from schemas.inbox import PARAMS, TOKEN, Deposit, decode, encode_params


@given(st.dictionaries(st.text(), st.text()), st.text())
def test_an_entry_is_read_as_it_was_deposited(params: dict[str, str], token: str) -> None:
    deposit = decode({PARAMS: encode_params(params), TOKEN: token.encode()})
    assert deposit == Deposit(params, token)
    assert list(deposit.params) == list(params)


def test_an_entry_without_a_token_is_no_worse() -> None:
    assert decode({PARAMS: b"{}"}) == Deposit({}, "")


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {TOKEN: b"t"},
        {PARAMS: b""},
        {PARAMS: b"null"},
        {PARAMS: b"[]"},
        {PARAMS: b'{"RoomName": 7}'},
        {PARAMS: b'{"RoomName": "\xff"}'},
        {PARAMS: b'{"RoomName": "\\ud800"}'},
        {PARAMS: b"{} {}"},
        {PARAMS: b"{}", TOKEN: b"\xff"},
    ],
)
def test_what_the_door_never_deposits_is_indigestible(entry: dict[bytes, bytes]) -> None:
    with pytest.raises(IndigestibleError, match="Not an entry of the inbox"):
        decode(entry)
