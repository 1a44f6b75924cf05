"""Asks under way: sent by a thread, together with what was put while Redis answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from workers.asking import Ask
from workers.under_way import UnderWay

# Longer than any test.
FOR_LONG = 20.0


def ask(step: str) -> Ask[Any]:
    return Ask(step, None, [], [], bytes)


class Wire:
    """What is sent, and an answer to each once it is let through."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.error: Exception | None = None
        self.busy, self.open = threading.Event(), threading.Event()

    def send(self, asks: Sequence[Ask[Any]]) -> list[Any]:
        self.sent.append([one.step for one in asks])
        self.busy.set()
        assert self.open.wait(FOR_LONG)
        if self.error:
            raise self.error
        return [one.step.upper() for one in asks]


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def under_way(wire: Wire) -> Iterator[UnderWay]:
    with closing(UnderWay(wire.send)) as made:
        yield made


def test_what_is_put_while_redis_answers_goes_out_together(wire: Wire, under_way: UnderWay) -> None:
    under_way.put(3, ask("a"))
    assert wire.busy.wait(FOR_LONG)
    for shard in (1, 2, 0):
        under_way.put(shard, ask("bcd"[shard]))
    assert not under_way.has_come()
    wire.open.set()
    assert [under_way.next() for _ in range(4)] == [(3, "A"), (1, "C"), (2, "D"), (0, "B")]
    assert wire.sent == [["a"], ["c", "d", "b"]]
    assert not under_way


def test_an_answer_that_is_there_is_seen_without_waiting(wire: Wire, under_way: UnderWay) -> None:
    wire.open.set()
    under_way.put(1, ask("a"))
    under_way.put(2, ask("b"))
    assert under_way.next() == (1, "A")
    # It may have gone out with the first, or after it.
    while not under_way.has_come():
        assert under_way
    assert under_way.next() == (2, "B")
    assert not under_way.has_come()


def test_what_cannot_be_sent_is_told_to_each_that_asked(wire: Wire, under_way: UnderWay) -> None:
    wire.error = OSError("gone")
    wire.open.set()
    under_way.put(1, ask("a"))
    under_way.put(2, ask("b"))
    assert [under_way.next() for _ in range(2)] == [(1, wire.error), (2, wire.error)]


def test_to_close_it_takes_no_longer_than_the_answer_to_what_is_under_way(wire: Wire) -> None:
    under_way = UnderWay(wire.send)
    under_way.put(1, ask("a"))
    assert wire.busy.wait(FOR_LONG)
    ending = threading.Thread(target=under_way.close)
    ending.start()
    wire.open.set()
    ending.join(FOR_LONG)
    assert not ending.is_alive()
    assert under_way.next() == (1, "A")
