"""Batches share only the commit: how a history is split into them changes nothing."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from rooms import BOUNDS
from strategies import ROOM, histories

from schemas.inbox import encode_params
from workers import records
from workers.arrivals import read_entries
from workers.batch import Entry
from workers.digest import Digester
from workers.scribe import Scribe
from workers.steps import Circumstances

Params = dict[str, str]


def entries_of(history: list[Params]) -> list[Entry]:
    return [
        (b"%d-0" % (1_700_000_000_000 + number), {b"params": encode_params(params), b"token": b""})
        for number, params in enumerate(history)
    ]


def digested(batches: list[list[Entry]]) -> tuple[records.Record, list[list[str | bytes]]]:
    stored: dict[str, bytes | None] = {ROOM: None}
    events: list[list[str | bytes]] = []
    for entries in batches:
        digester = Digester(stored, Circumstances(0, {}, BOUNDS, lambda: 0, Scribe(BOUNDS)))
        batch, _ = digester.digest(read_entries(0, entries), until=math.inf)
        stored |= {sid: one.record for sid, one in batch.rooms.items()}
        events += batch.events
    return records.decode(stored[ROOM]), events


@given(histories, st.lists(st.integers(1, 5), max_size=16))
def test_any_split_into_batches_gives_the_same_record_and_the_same_events(
    history: list[Params], sizes: list[int]
) -> None:
    entries = entries_of(history)
    split, rest = [], entries
    for size in sizes:
        split.append(rest[:size])
        rest = rest[size:]
    batches = [batch for batch in (*split, rest) if batch]
    assert digested(batches) == digested([entries] if entries else [])


@given(histories)
def test_a_stored_record_is_read_as_it_was_written(history: list[Params]) -> None:
    record, _ = digested([entries_of(history)] if history else [])
    assert records.decode(records.encode(record)) == record
