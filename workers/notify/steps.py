"""One step of a delivery: what to send next, and what holds once it has been delivered.

What is the same for every kind of target; each kind is a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from workers.notify.alert import Alert
from workers.notify.state import State

# What an Alertmanager was told to be firing, by dedup key; None: no longer.
Firing = Mapping[str, bytes]
FiringChanges = Mapping[str, bytes | None]


class Situation(NamedTuple):
    """How things stand with a target."""

    state: State
    # What comes after the cursor, oldest first.
    waiting: Sequence[Alert]
    firing: Firing
    # In milliseconds since 1970.
    now: int


class Step(NamedTuple):
    """What to send next."""

    # Those that it tells of; none where something is only said again.
    alerts: Sequence[Alert]
    payload: Any
    # What holds when it is delivered.
    after: State
    firing: FiringChanges
    # When it is not tried any more, in milliseconds since 1970; None for never.
    give_up_at: int | None


class Rest(NamedTuple):
    """Nothing to send now."""

    # When there will be, even if nothing is published until then; 0 for never.
    look_at: int = 0


class Failure(NamedTuple):
    """Why something was not delivered."""

    # A word for the log.
    reason: str
    # The target would take another alert, but not this one.
    about_alert: bool = False
    # The target wishes to be left alone for this long.
    wait_ms: int = 0
    # What more can be said, without a secret in it.
    detail: str | None = None


class Channel(Protocol):
    """How one target is spoken to."""

    def next(self, at: Situation) -> Step | Rest:
        """Say what to send now, if anything. Pure."""

    def send(self, step: Step) -> Failure | None:
        """Send it, and say why that failed, if it did. Takes a bounded time."""
