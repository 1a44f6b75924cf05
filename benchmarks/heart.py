"""The heart alone, without I/O: what a callback costs, in small rooms and large, new and old ones.

Every size is measured in turn, several rounds of it, so that a noisy machine is noisy for all; the
medians are printed, and their ratios.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import time
from collections.abc import Callable as Function
from collections.abc import Iterator

from workers.room.bounds import Bounds
from workers.room.callback import Callback
from workers.room.conclude import conclude
from workers.room.facts import NOTHING, Facts

BOUNDS = Bounds(before=250_000, after=15_000_000)
START = 1_700_000_000_000_000
SECOND = 1_000_000


def told(event: str, at: int, number: int, **said: str | int) -> Callback:
    """Make a callback that arrives when it happens."""
    place: dict[str, str | int] = {"event": event, "room_sid": "RM1", "timestamp": at}
    return Callback(
        event=event,
        account_sid="AC1",
        room_sid="RM1",
        at=at,
        sequence=number,
        id=number.to_bytes(8, "big"),
        said=place | said,
        strange={},
        arrived=at,
    )


def meeting(people: int, rounds: int) -> Iterator[Callback]:
    """Tell of people who mute and unmute; now and then one leaves and is back in a minute."""
    at, number = START, 0
    sessions = [0] * people

    def one(event: str, person: int, **more: str | int) -> Callback:
        nonlocal at, number
        at, number = at + SECOND // 10, number + 1
        sid = f"PA{person:04d}{sessions[person]:028d}"
        who = {"participant_sid": sid, "participant_identity": f"person {person}"}
        return told(event, at, number, **who, **more)

    for person in range(people):
        yield one("participant-connected", person)
        yield one("track-added", person, track_sid=f"MT{person}", track_kind="audio")
    for turn in range(rounds):
        person = turn % people
        track = {"track_sid": f"MT{person}", "track_kind": "audio"}
        yield one("track-disabled" if turn // people % 2 else "track-enabled", person, **track)
        if turn % 10 == 0:
            yield one("participant-disconnected", person)
            at += 60 * SECOND
            sessions[person] += 1
            yield one("participant-connected", person)
            yield one("track-added", person, **track)


def visitors(past: int) -> Iterator[Callback]:
    """Tell of visitors who come one after the other for a minute each, all day."""
    at, number = START, 0
    for visitor in range(past):
        sid = f"PA{visitor:032d}"
        who = {"participant_sid": sid, "participant_identity": f"visitor {visitor % 500}"}
        for event in ("participant-connected", "participant-disconnected"):
            at, number = at + 30 * SECOND, number + 1
            yield told(event, at, number, **who)


def per_callback(facts: Facts, callbacks: list[Callback]) -> float:
    """Tell callbacks to the heart; return microseconds of this process's time for each."""
    gc.collect()
    began = time.process_time()
    for callback in callbacks:
        facts = conclude(facts, callback, BOUNDS).facts
    return (time.process_time() - began) / len(callbacks) * 1_000_000


def settled(callbacks: list[Callback], measured: int) -> tuple[Facts, list[Callback]]:
    """Tell all but the last callbacks; return the facts, and those last ones."""
    facts = NOTHING
    for callback in callbacks[:-measured]:
        facts = conclude(facts, callback, BOUNDS).facts
    return facts, callbacks[-measured:]


def table(title: str, cases: dict[int, Function[[], float]], rounds: int) -> None:
    """Measure the cases in turn, and print the medians beside that of the first."""
    seen: dict[int, list[float]] = {size: [] for size in cases}
    for _ in range(rounds):
        for size, measure in cases.items():
            seen[size].append(measure())
    least = statistics.median(seen[min(seen)])
    print(f"\n{title}")
    for size, times in seen.items():
        median = statistics.median(times)
        print(f"  {size:>7,}  {median:7.1f} µs a callback  {median / least:5.2f} x the first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--callbacks", type=int, default=2_000)
    parser.add_argument("--past", type=int, default=10_000)
    asked = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, medians of {asked.rounds}")

    def of(facts: Facts, callbacks: list[Callback]) -> Function[[], float]:
        return lambda: per_callback(facts, callbacks)

    rooms = {
        people: of(*settled([*meeting(people, asked.callbacks + 2_000)], asked.callbacks))
        for people in (2, 10, 50)
    }
    table("participants at once", rooms, asked.rounds)
    sizes = sorted({10, min(1_000, asked.past), asked.past})
    days = {past: of(*settled([*visitors(past + 10)], 20)) for past in sizes}
    table("past sessions", days, asked.rounds * 20)


if __name__ == "__main__":
    main()
