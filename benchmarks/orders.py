"""What passes between a measurement and the processes that send and read for it."""

from __future__ import annotations

import msgspec

from benchmarks.backlog import Name
from benchmarks.shots import Mark

# How many requests are under way for one web process: as many as the plain receiver has threads.
CONNECTIONS = 16


class Order(msgspec.Struct, kw_only=True):
    """What a sender is to send."""

    shots: str
    port: int
    seconds: float
    # The place in the file to begin with.
    first: int = 0
    # How many requests are under way at once; where there is a rate, as many as it takes.
    connections: int = CONNECTIONS
    # Requests a second, evenly spaced; 0 for as fast as they are answered.
    rate: float = 0.0
    # Send nothing while so many callbacks wait behind the door; 0 to send on whatever waits.
    most_waiting: int = 0
    # What runs first and is not counted into the rates.
    warm_seconds: float = 0.0
    system: Name = "rollcall"
    redis_url: str = ""
    # Where to write when each request went out; empty for nowhere.
    stamps: str = ""


class Report(msgspec.Struct, kw_only=True):
    """What came of an order. The rates leave out the time to warm up."""

    sent: int
    # How often which status was answered; 0 where the connection broke.
    answers: dict[int, int]
    accepted_per_second: float
    # Accepted and applied; the same where the backlog was not looked at.
    applied_per_second: float
    # Times that Redis was asked for the backlog.
    looks: int
    # Of sending, without loading the file.
    cpu_seconds: float


class Stamp(msgspec.Struct, array_like=True):
    """When something was sent or read, on the clock that all processes of a machine share."""

    mark: Mark
    nanoseconds: int
