"""What the spool keeps of a callback, and how much room that takes. Knows no file."""

from __future__ import annotations

from typing import NamedTuple

# What a row takes beside its parameters and its token: key, lengths, page overhead.
ROW_BYTES = 128


class Row(NamedTuple):
    """A callback that is to be kept."""

    params: bytes
    token: str

    @property
    def size(self) -> int:
        return len(self.params) + len(self.token) + ROW_BYTES


class Spooled(NamedTuple):
    """A callback that waits for Redis."""

    id: int
    params: bytes
    token: str

    @property
    def size(self) -> int:
        return Row(self.params, self.token).size
