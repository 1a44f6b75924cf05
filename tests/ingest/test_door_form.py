"""Forms: order, blanks, spaces and identities byte for byte; and what is no form."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.form import read_form

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(TEXT.filter(bool), TEXT)))
def test_every_text_comes_back_in_its_place_however_it_was_encoded(
    pairs: list[tuple[str, str]],
) -> None:
    for encode in (quote, quote_plus):
        body = "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)
        assert read_form(body.encode()) == (pairs, None)


def test_plus_and_percent_20_are_a_space_and_percent_2b_is_a_plus() -> None:
    assert read_form(b"a=1+2%203%2B4").pairs == [("a", "1 2 3+4")]


def test_blank_values_and_names_without_one_are_kept_and_empty_pieces_are_not() -> None:
    assert read_form(b"&a=&b&&=c&").pairs == [("a", ""), ("b", ""), ("", "c")]


def test_spaces_at_either_end_stay() -> None:
    assert read_form(b"ParticipantIdentity=%20Visitor%27s%20Phone%20").pairs == [
        ("ParticipantIdentity", " Visitor's Phone ")
    ]


def test_only_the_first_equals_sign_divides() -> None:
    assert read_form(b"a=b=c").pairs == [("a", "b=c")]


def test_repeated_names_are_told_once_each_in_their_order() -> None:
    form = read_form(b"b=1&a=1&c=1&a=1&b=2&a=3")
    assert form.repeated() == ["b", "a"]
    assert form.values() == {"b": ["1", "2"], "a": ["1", "1", "3"], "c": ["1"]}


def test_values_and_names_are_measured_in_bytes() -> None:
    form = read_form(b"a=123456&b=%C3%A9%C3%A9&c=1234&%C3%A9%C3%A9%C3%A9=1&d=%ff%ff")
    assert form.longer_than(5) == ["a", "\u00e9\u00e9\u00e9", "d"]
    assert form.longer_than(6) == []


@pytest.mark.parametrize("raw", [b"a=\xff", b"a=%ff", b"%c3=1", b"a=%ED%A0%80"])
def test_what_is_not_utf_8_is_at_fault(raw: bytes) -> None:
    assert read_form(raw).fault == "Not UTF-8."


@pytest.mark.parametrize("raw", [b"a=%", b"a=%1", b"a=%zz", b"a%=1", b"a=100%&b=1"])
def test_a_stray_percent_sign_is_at_fault(raw: bytes) -> None:
    assert "%" in (read_form(raw).fault or "")


@given(st.binary())
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    read_form(raw)
