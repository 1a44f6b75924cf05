"""A urlencoded form, read from the bytes on the wire. Pure: knows neither Flask nor Twilio.

Werkzeug's own reader replaces what is not UTF-8 without a word and hides the order of the names.
Here every parameter keeps its place and its text byte for byte, never trimmed: an identity with a
trailing space is another identity.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

# Of a character in UTF-8.
_MOST_BYTES = 4
_STRAY_PERCENT = re.compile(rb"%(?![0-9a-fA-F]{2})")


class Form(NamedTuple):
    """Names and values in the order they came in."""

    pairs: list[tuple[str, str]]
    # Why this is no proper form, if it is none. Its pairs then hold replacement characters: good
    # enough to tell who sent it, and for nothing else.
    fault: str | None = None

    def values(self) -> dict[str, list[str]]:
        """Every value of each name."""
        values: dict[str, list[str]] = {}
        for name, value in self.pairs:
            values.setdefault(name, []).append(value)
        return values

    def longer_than(self, size: int) -> list[str]:
        """The names that have more bytes than `size`, or whose values do, in their order."""
        if max(map(len, chain.from_iterable(self.pairs)), default=0) * _MOST_BYTES <= size:
            return []
        return [pair[0] for pair in self.pairs if max(len(part.encode()) for part in pair) > size]

    def repeated(self) -> list[str]:
        """The names that occur more than once, in the order they came in."""
        if len(dict(self.pairs)) == len(self.pairs):
            return []
        counts = Counter(name for name, _ in self.pairs)
        return [name for name, count in counts.items() if count > 1]


def read_form(raw: bytes) -> Form:
    """Read a request body or a query. Never raises: `fault` says what is wrong."""
    try:
        pairs = _pairs(raw, "strict")
    except UnicodeDecodeError:
        return Form(_pairs(raw, "replace"), "Not UTF-8.")
    if _STRAY_PERCENT.search(raw):
        return Form(pairs, "Holds a % that is not followed by two hex digits.")
    return Form(pairs)


def _pairs(raw: bytes, errors: str) -> list[tuple[str, str]]:
    # A character a byte. Both stand for a space: browsers and most libraries send +, Twilio sends
    # %20.
    text = raw.decode("latin-1").replace("+", " ")
    pieces = (piece.partition("=") for piece in text.split("&") if piece)
    return [(_text(name, errors), _text(value, errors)) for name, _, value in pieces]


def _text(piece: str, errors: str) -> str:
    if "%" not in piece and piece.isascii():
        return piece
    return unquote_to_bytes(piece.encode("latin-1")).decode("utf-8", errors)
