"""The suite: every fault, in one table."""

from __future__ import annotations

from faults import edges, kills, places, redises, tails, wakeups
from faults.play import Scenario

_WAITS = {"ROLLCALL_WAIT_REPLICAS": "1"}
# What is promised of a Redis that is back, without human hands.
_SOON = 5.0

SUITE = (
    Scenario(
        "kill -9 around a deposit", kills.at("deposit.before", "deposit.unread", "deposit.after"), 9
    ),
    Scenario(
        "kill -9 around a wake-up",
        kills.at("wake-up.before", "wake-up.unread", "wake-up.after"),
        9,
    ),
    Scenario(
        "kill -9 around the taking of a lease",
        kills.at("lease.before", "lease.unread", "lease.after"),
        9,
    ),
    Scenario(
        "kill -9 around the reading of a batch",
        kills.at(
            "read.before",
            "read.unread",
            "read.after",
            "load.before",
            "load.unread",
            "load.after",
        ),
        12,
    ),
    Scenario(
        "kill -9 around a commit",
        kills.at("commit.unread", "commit.before", "commit.after"),
        15,
        1,
    ),
    Scenario(
        "kill -9 around the writing of the audit, and half-way",
        kills.at("audit.half", "audit.before", "audit.after"),
        15,
        1,
    ),
    Scenario(
        "kill -9 around the release of a lease",
        kills.at("release.before", "release.unread", "release.after"),
        9,
    ),
    Scenario(
        "kill -9 around the delivery of an alert",
        kills.at_alerts(
            "send-alert.before",
            "send-alert.after",
            "notify.before",
            "notify.unread",
            "notify.after",
        ),
        5,
        place=places.with_a_receiver,
    ),
    Scenario(
        "kill -9 around the spool, while Redis is away",
        kills.at_the_spool(
            "spool-put.before",
            "spool-put.after",
            "spool-send.before",
            "spool-send.unread",
            "spool-send.after",
            "spool-settle.before",
            "spool-settle.after",
        ),
        14,
    ),
    Scenario("kill -9 of any process, at random", kills.at_random, 200, 5),
    Scenario(
        "SIGSTOP of a worker past its lease, then SIGCONT", kills.stopped_past_the_lease, 5, 1
    ),
    Scenario("wake-ups dropped", wakeups.dropped, 20),
    Scenario("wake-ups doubled", wakeups.doubled, 10),
    Scenario("wake-ups delayed by 3 s", wakeups.delayed, 10),
    Scenario("the queue of wake-ups emptied by hand", wakeups.queue_emptied, 10),
    Scenario("wake-ups and sweeps that nobody asked for", wakeups.unasked, 200),
    Scenario("no beat for a minute", wakeups.without_beat, 60),
    Scenario("two beats", wakeups.with_two_beats, 10),
    Scenario("Redis restarted", redises.restarted, 20, within_seconds=_SOON),
    Scenario("Redis killed -9", redises.killed, 10, forgets=True, within_seconds=_SOON),
    Scenario("CLIENT PAUSE for 1 s and for 4 s", redises.paused, 6, within_seconds=_SOON),
    Scenario("CLIENT KILL TYPE normal", redises.clients_killed, 100, within_seconds=_SOON),
    Scenario("Redis out of memory, with noeviction", redises.full, 3, 1, within_seconds=_SOON),
    Scenario("Redis made a read-only replica", redises.read_only, 5, within_seconds=_SOON),
    Scenario("SCRIPT FLUSH", redises.scripts_flushed, 100, within_seconds=_SOON),
    Scenario(
        "the clock of Redis set back by an hour",
        redises.clock_set_back,
        4,
        place=places.with_a_clock,
        missing=places.no_faketime,
        within_seconds=_SOON,
    ),
    Scenario("the disk of the spool full", edges.disk_full, 3),
    Scenario("the audit output closed", edges.audit_closed, 3, piped=("worker",)),
    Scenario(
        "RabbitMQ restarted, as the broker",
        edges.broker_restarted,
        4,
        place=places.with_rabbitmq,
        missing=places.no_rabbitmq,
    ),
    Scenario(
        "failover to a replica, by Sentinel",
        tails.failed_over,
        3,
        place=places.replicated,
        forgets=True,
        within_seconds=_SOON,
    ),
    Scenario(
        "slots moved in a cluster",
        tails.slots_moved,
        8,
        place=places.clustered,
        within_seconds=_SOON,
    ),
    Scenario(
        "Redis loses its last second", tails.cut_off, 5, 1, forgets=True, within_seconds=_SOON
    ),
    Scenario(
        "a replica that lacks the last second takes over",
        tails.failed_over_behind,
        3,
        place=places.replicated,
        forgets=True,
        within_seconds=_SOON,
    ),
    Scenario(
        "the same and the door dies, with ROLLCALL_WAIT_REPLICAS=1",
        tails.failed_over_behind_with_the_door,
        3,
        place=places.replicated,
        settings=_WAITS,
        forgets=True,
        within_seconds=_SOON,
    ),
    Scenario(
        "Redis loses its last second, and the door dies with it",
        tails.cut_off_with_the_door,
        3,
        forgets=True,
        loses=True,
        within_seconds=_SOON,
    ),
)
