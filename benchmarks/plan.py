"""How long and how much is measured: minutes, an hour, or only to see that it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Plan:
    """Times are in seconds, rates in callbacks a second."""

    rounds: int = 3
    # No further round is begun after this: a busy machine would take all day.
    enough: float = 300.0
    # Signed beforehand: more than is sent in one measurement.
    shots: int = 60_000
    accept: float = 3.0
    warm: float = 1.0
    sustain: float = 5.0
    # While so many callbacks wait for the workers, the door is given no more.
    most_waiting: int = 1_000
    idle: float = 6.0
    idle_rate: float = 50.0
    half: float = 4.0
    # At the most; a drain also ends when nothing is left.
    drain: float = 4.0
    # What is made to wait for a worker, so that it lasts.
    backlog_plain: int = 2_500
    backlog_rollcall: int = 25_000
    # One worker process is measured in any case.
    worker_processes: tuple[int, ...] = (2, 4, 8)
    live_rooms: tuple[int, ...] = (10, 1_000, 10_000)
    people: tuple[int, ...] = (2, 10, 50)
    # What is drained to see the cost against growth.
    growth: int = 4_000
    # Rooms of each number of people.
    rooms_of_people: int = 50
    heart: int = 10_000
    xadds: int = 50_000


QUICK = Plan()
LONG = replace(
    QUICK,
    rounds=5,
    enough=5_400.0,
    shots=200_000,
    accept=10.0,
    sustain=20.0,
    idle=20.0,
    half=20.0,
    drain=40.0,
    # To lay up so much takes a minute: more of them are measured by the quick one.
    worker_processes=(),
    backlog_plain=200_000,
    backlog_rollcall=200_000,
    live_rooms=(10, 1_000, 100_000),
    growth=20_000,
)
SMOKE = Plan(
    rounds=1,
    shots=3_000,
    accept=0.3,
    warm=0.1,
    sustain=0.3,
    most_waiting=100,
    idle=0.5,
    half=0.3,
    drain=1.0,
    backlog_plain=100,
    backlog_rollcall=2_000,
    worker_processes=(),
    live_rooms=(10, 20),
    people=(2, 3),
    growth=100,
    rooms_of_people=5,
    heart=200,
    xadds=200,
)
