"""The rounds: several shards served together, by somebody who lingers with their leases in hand."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from asked import asked
from audits import AuditOutput
from redis import Redis, ResponseError
from rooms import BOUNDS, PHONE, connected, created, disconnected
from strategies import sid
from streams import by_room, check_chain, published

from ingest.inbox import Inbox
from schemas.errors import LeaseLostError, UnknownVersionError
from schemas.keys import Keyspace, shard_of
from schemas.logs import Lines
from workers import records, serving
from workers.arrivals import Arrival
from workers.asking import Ask
from workers.batch import Hold
from workers.drain import Drain
from workers.leaving import Leaving
from workers.room.value import replace
from workers.rounds import Rounds, Terms
from workers.serving import Serving
from workers.store import LEASE_MS, Store
from workers.turns import Done, Drained, Turn, Work

SHARDS = range(8)
# One of each shard.
ROOMS = [next(one for n in range(999) if shard_of(one := sid("RM", n), 8) == at) for at in SHARDS]
# Longer than any test.
FOR_LONG = 60.0
# Several slices.
BRIEFLY = Terms(1, FOR_LONG, slice_seconds=0.02, life_seconds=0.3)
Eventually = Callable[[Callable[[], bool]], None]


class Worker:
    """One process of a worker, as a thread: it serves from a wake-up until it is to leave."""

    def __init__(self, store: Store, audit: AuditOutput, threads: Any) -> None:
        self._store = store
        self._audit = audit
        self._threads = threads
        self.leaving = threading.Event()

    def wake(
        self,
        shard: int,
        name: str = "one",
        *,
        share: int = 8,
        linger: float = FOR_LONG,
        slice_seconds: float = FOR_LONG,
        linger_of_people: int = BOUNDS.linger,
    ) -> Future[dict[int, Drained]]:
        bounds = BOUNDS._replace(linger=linger_of_people)
        drain = Drain(self._store, bounds, Lines(self._audit.writing), at_once=share)
        terms = Terms(share, linger, slice_seconds, self.leaving.is_set)
        rounds = Rounds(self._store, lambda one: drain.begin(one, {"worker": name}), terms)
        serve = lambda: {one.shard: one for one in rounds.serve(shard)}  # noqa: E731
        return self._threads.submit(serve)


@pytest.fixture
def worker(store: Store, audit: AuditOutput) -> Iterator[Worker]:
    with ThreadPoolExecutor() as threads:
        worker = Worker(store, audit, threads)
        try:
            yield worker
        finally:
            worker.leaving.set()


@pytest.fixture
def inbox(redis: Redis, keyspace: Keyspace) -> Inbox:
    return Inbox(redis, keyspace, 8)


def opened(room_sid: str) -> dict[str, str]:
    return created() | {"RoomSid": room_sid}


def held(redis: Redis, keyspace: Keyspace) -> set[int]:
    return {shard for shard in SHARDS if redis.exists(keyspace.shard(shard).lease)}


def is_told(redis: Redis, *room_sids: str) -> bool:
    return set(room_sids) <= by_room(published(redis)).keys()


def test_one_wake_up_has_all_shards_served_that_wait(
    worker: Worker, inbox: Inbox, redis: Redis, keyspace: Keyspace
) -> None:
    for room in ROOMS:
        inbox.deposit(opened(room), "")
    drained = worker.wake(3, linger=0.05).result(20.0)
    assert {shard: one.callbacks for shard, one in drained.items()} == dict.fromkeys(SHARDS, 1)
    assert is_told(redis, *ROOMS)
    assert held(redis, keyspace) == set()


def test_two_processes_share_the_shards_between_them(
    worker: Worker,
    inbox: Inbox,
    redis: Redis,
    keyspace: Keyspace,
    audit: AuditOutput,
    eventually: Eventually,
) -> None:
    for room in ROOMS:
        inbox.deposit(opened(room), "")
    one = worker.wake(0, "one", share=4)
    eventually(lambda: len(held(redis, keyspace)) == 4)
    left = next(iter({*SHARDS} - held(redis, keyspace)))
    other = worker.wake(left, "other", share=4)
    eventually(lambda: is_told(redis, *ROOMS))
    assert held(redis, keyspace) == {*SHARDS}
    worker.leaving.set()
    assert {**one.result(20.0), **other.result(20.0)}.keys() == {*SHARDS}
    by = {line["shard"]: line["worker"] for line in audit.read()}
    assert sorted(by.values()) == ["one"] * 4 + ["other"] * 4


def test_who_lingers_is_woken_for_nothing_and_applies_what_comes(
    worker: Worker, inbox: Inbox, redis: Redis, keyspace: Keyspace, eventually: Eventually
) -> None:
    assert inbox.deposit(opened(ROOMS[0]), "").wake
    served = worker.wake(0)
    eventually(lambda: held(redis, keyspace) == {*SHARDS})
    for room in ROOMS[1:]:
        assert not inbox.deposit(opened(room), "").wake
    eventually(lambda: is_told(redis, *ROOMS))
    worker.leaving.set()
    assert sum(one.callbacks for one in served.result(20.0).values()) == len(ROOMS)


def test_a_lone_callback_is_committed_before_anybody_lingers(
    worker: Worker, inbox: Inbox, redis: Redis, eventually: Eventually
) -> None:
    inbox.deposit(opened(ROOMS[0]), "")
    served = worker.wake(0)
    eventually(lambda: is_told(redis, ROOMS[0]))
    assert not served.done()


def test_whoever_finds_nothing_lingers_for_nothing(worker: Worker) -> None:
    assert worker.wake(0).result(20.0) == {0: Drained(0, 0, handed_on=False)}


def test_a_process_that_is_to_leave_lets_all_go_at_once(
    worker: Worker, inbox: Inbox, redis: Redis, keyspace: Keyspace, eventually: Eventually
) -> None:
    inbox.deposit(opened(ROOMS[0]), "")
    served = worker.wake(0)
    eventually(lambda: held(redis, keyspace) == {*SHARDS})
    worker.leaving.set()
    asked_at = time.monotonic()
    served.result(20.0)
    assert time.monotonic() - asked_at < 2.0
    assert held(redis, keyspace) == set()


def test_a_lease_that_is_lost_costs_its_own_shard_only(
    worker: Worker, inbox: Inbox, redis: Redis, keyspace: Keyspace, eventually: Eventually
) -> None:
    inbox.deposit(opened(ROOMS[0]), "")
    served = worker.wake(0)
    eventually(lambda: held(redis, keyspace) == {*SHARDS})
    redis.set(keyspace.shard(1).lease, "another")
    for room in ROOMS[1:]:
        inbox.deposit(opened(room), "")
    eventually(lambda: is_told(redis, *ROOMS[2:]))
    worker.leaving.set()
    drained = served.result(20.0)
    assert isinstance(drained[1].error, LeaseLostError)
    assert [shard for shard, one in drained.items() if one.error] == [1]
    assert redis.get(keyspace.shard(1).lease) == b"another"
    assert not is_told(redis, ROOMS[1])


def test_what_only_a_newer_worker_can_read_stops_its_own_shard_only(
    worker: Worker, inbox: Inbox, redis: Redis, keyspace: Keyspace, eventually: Eventually
) -> None:
    newer = records.encode(replace(records.NEW, version=records.VERSION + 1))
    redis.set(keyspace.shard(1).room(ROOMS[1]), newer)
    for room in ROOMS:
        inbox.deposit(opened(room), "")
    served = worker.wake(0)
    eventually(lambda: is_told(redis, ROOMS[0], *ROOMS[2:]))
    # It was given back, and is not taken again and again.
    assert held(redis, keyspace) == {*SHARDS} - {1}
    worker.leaving.set()
    drained = served.result(20.0)
    assert isinstance(drained[1].error, UnknownVersionError)
    assert redis.xlen(keyspace.shard(1).inbox) == 1


def test_an_inbox_that_is_no_stream_stops_its_own_shard_only(
    worker: Worker, inbox: Inbox, redis: Redis, keyspace: Keyspace, eventually: Eventually
) -> None:
    inbox.deposit(opened(ROOMS[0]), "")
    served = worker.wake(0)
    eventually(lambda: held(redis, keyspace) == {*SHARDS})
    redis.set(keyspace.shard(1).inbox, "somebody else's")
    for room in ROOMS[2:]:
        inbox.deposit(opened(room), "")
    eventually(lambda: is_told(redis, *ROOMS[2:]))
    worker.leaving.set()
    assert [shard for shard, one in served.result(20.0).items() if one.error] == [1]


def test_time_runs_in_rooms_while_callbacks_keep_coming(
    worker: Worker, inbox: Inbox, redis: Redis, eventually: Eventually
) -> None:
    who = {"RoomSid": ROOMS[0]}
    for params in (connected(PHONE, 0) | who, disconnected(PHONE, 1_000) | who):
        inbox.deposit(params, "")
    served = worker.wake(0, slice_seconds=0.05, linger_of_people=50_000)

    def is_gone() -> bool:
        inbox.deposit(opened(ROOMS[1]), "")
        return "identity.departed" in [event.kind for event in published(redis)]

    eventually(is_gone)
    assert not served.done()


def test_a_flood_in_one_shard_keeps_no_other_waiting(
    worker: Worker, inbox: Inbox, redis: Redis
) -> None:
    flood = [connected(sid("PA", one), one) | {"RoomSid": ROOMS[0]} for one in range(4 * 256)]
    inbox.deposit_all([inbox.place(one, "") for one in flood])
    inbox.deposit(opened(ROOMS[1]), "")
    drained = worker.wake(0, linger=0.05).result(20.0)
    assert (drained[0].callbacks, drained[1].callbacks) == (len(flood), 1)
    rooms = [event.attributes["roomsid"] for event in published(redis)]
    assert rooms.index(ROOMS[1]) < len(flood)
    assert rooms[-1] == ROOMS[0]


class Works:
    """Shards at which the same is found turn after turn: what rounds do is all that differs."""

    def __init__(self, store: Store, found: Done, error: Exception | None = None) -> None:
        self._store = store
        self._found = found
        self._error = error
        self.begun: list[int] = []

    def serve(self, terms: Terms) -> list[Drained]:
        """Serve from a wake-up for shard 0."""
        return Rounds(self._store, self._begin, terms).serve(0)

    def _begin(self, shard: int) -> Work:
        self.begun.append(shard)
        turn = Turn()
        while not turn.over:
            turn = yield self._found
        if self._error:
            raise self._error
        return Drained(shard, 1, handed_on=True)


class Hears(Store):
    """A store that hears the first ask of shard 0, and answers when another shard is at work."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard, self.other_works = threading.Event(), threading.Event()

    def send(self, asks: Sequence[Ask[Any]]) -> list[Any]:
        if [one.step for one in asks] == ["commit"]:
            self.heard.set()
            assert self.other_works.wait(20.0)
        return super().send(asks)


def work_for_a_while() -> None:
    """Take so much processor time that it is worth sending at once what is asked then."""
    over = time.thread_time() + 0.01
    while time.thread_time() < over:
        pass


def test_a_shard_is_digested_while_redis_answers_another(redis: Redis, keyspace: Keyspace) -> None:
    store = Hears(redis, keyspace, shards=8, maxlen=1000)
    ask = Ask("commit", None, ["key"], ["GET"], bytes)
    answers = {}

    def begin(shard: int) -> Work:
        turn = yield Done(1)
        if shard:
            # Not before the other has asked, and the other is not answered before this goes on.
            assert store.heard.wait(20.0)
            store.other_works.set()
        else:
            work_for_a_while()
            answers[shard] = yield ask
        while not turn.over:
            turn = yield Done(1)
        return Drained(shard, 1, handed_on=False)

    redis.set("key", "value")
    terms = Terms(2, FOR_LONG, FOR_LONG, leaving=store.other_works.is_set)
    drained = Rounds(store, begin, terms).serve(0)
    assert [one.error for one in drained] == [None, None]
    assert answers == {0: b"value"}


def test_who_asks_quickly_does_not_keep_an_answer_from_another(
    redis: Redis, keyspace: Keyspace
) -> None:
    store = Store(redis, keyspace, shards=8, maxlen=1000)
    ask = Ask("due", None, ["key"], ["GET"], bytes)
    answered, quick = threading.Event(), 0

    def begin(shard: int) -> Work:
        nonlocal quick
        turn = yield Done(1)
        if shard:
            deadline = time.monotonic() + 20.0
            while not answered.is_set():
                assert time.monotonic() < deadline
                quick += 1
                yield ask
        else:
            work_for_a_while()
            yield ask
            answered.set()
        while not turn.over:
            turn = yield Done(1)
        return Drained(shard, 1, handed_on=False)

    drained = Rounds(store, begin, Terms(2, FOR_LONG, FOR_LONG, leaving=answered.is_set)).serve(0)
    assert [one.error for one in drained] == [None, None]
    assert quick


def test_what_fails_under_way_is_told_to_the_shard_that_asked(
    redis: Redis, keyspace: Keyspace
) -> None:
    store = Store(redis, keyspace, shards=8, maxlen=1000)
    redis.set("text", "value")
    ask = Ask("commit", None, ["text"], ["LLEN"], int)
    failed = threading.Event()

    def begin(shard: int) -> Work:
        turn = yield Done(1)
        if not shard:
            work_for_a_while()
            try:
                yield ask
            finally:
                failed.set()
        while not turn.over:
            turn = yield Done(1)
        return Drained(shard, 1, handed_on=False)

    served = Rounds(store, begin, Terms(2, FOR_LONG, FOR_LONG, leaving=failed.is_set)).serve(0)
    drained = {one.shard: one for one in served}
    assert isinstance(drained.pop(0).error, ResponseError)
    assert [one.error for one in drained.values()] == [None]


def test_somebody_with_the_full_share_goes_on_for_so_long_and_no_longer(store: Store) -> None:
    works = Works(store, Done(1))
    works.serve(BRIEFLY)
    assert 1 < len(works.begun) < 50
    assert {*works.begun} == {0}


def test_a_flooded_shard_is_let_go_of_after_a_slice(store: Store) -> None:
    works = Works(store, Done(256, flooded=True))
    assert works.serve(BRIEFLY) == [Drained(0, 1, handed_on=True)]
    assert works.begun == [0]


def test_somebody_with_less_than_the_share_does_not_go_on(
    store: Store, redis: Redis, keyspace: Keyspace
) -> None:
    for shard in SHARDS:
        redis.set(keyspace.shard(shard).lease, "another", px=LEASE_MS)
    works = Works(store, Done(1))
    works.serve(BRIEFLY._replace(at_once=2))
    assert works.begun == [0]


def test_a_shard_that_failed_at_the_end_of_a_slice_is_left_to_the_sweep(store: Store) -> None:
    works = Works(store, Done(1), LeaseLostError())
    (drained,) = works.serve(BRIEFLY)
    assert isinstance(drained.error, LeaseLostError)
    assert works.begun == [0]


def test_all_that_are_served_together_can_be_digested_within_a_lease(
    store: Store, audit: AuditOutput, inbox: Inbox
) -> None:
    for number in range(20):
        inbox.deposit(connected(sid("PA", number), number) | {"RoomSid": ROOMS[0]}, "")
    # So many that there is no time for two callbacks of each.
    one_of_many = Drain(store, BOUNDS, Lines(audit.writing), slice_seconds=0.0, at_once=10**9)
    assert one_of_many.drain(0, {}) == Drained(0, 1, handed_on=True)


def test_whatever_goes_wrong_in_asking_all_shards_are_given_back(
    redis: Redis,
    keyspace: Keyspace,
    audit: AuditOutput,
    inbox: Inbox,
) -> None:
    class AsksNonsense(Store):
        """A store whose ask for one shard cannot be sent, and so none in the same round trip."""

        def load(self, hold: Hold, room_sids: Iterable[str]) -> Ask[dict[str, bytes | None]]:
            ask = super().load(hold, room_sids)
            return ask._replace(keys=["\ud800"]) if hold.shard == 1 else ask

    store = AsksNonsense(redis, keyspace, shards=8, maxlen=1000)
    drain = Drain(store, BOUNDS, Lines(audit.writing), at_once=8)
    for room in ROOMS:
        inbox.deposit(opened(room), "")
    rounds = Rounds(store, lambda one: drain.begin(one, {}), Terms(8, 0.05))
    drained = {one.shard: one for one in rounds.serve(0)}
    assert isinstance(drained[1].error, UnicodeEncodeError)
    assert held(redis, keyspace) == set()


def test_whoever_hands_a_shard_on_has_somebody_woken_for_it(
    store: Store, audit: AuditOutput, inbox: Inbox
) -> None:
    leaving = Leaving()
    leaving.tell_all()
    woken: list[int] = []

    def wake(shard: int) -> bool:
        woken.append(shard)
        return True

    serving = Serving(store, Drain(store, BOUNDS, Lines(audit.writing)), leaving, wake)
    for number in range(300):
        inbox.deposit(connected(sid("PA", number), number) | {"RoomSid": ROOMS[2]}, "")
    serving.drain(2)
    assert woken == [2]
    # There is nothing to hand on this time.
    serving.drain(2)
    assert woken == [2]


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """Python looks for garbage only where it is asked to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_a_batch_that_broke_off_is_not_kept_in_memory(
    store: Store, audit: AuditOutput, inbox: Inbox, redis: Redis, keyspace: Keyspace
) -> None:
    newer = msgspec.msgpack.encode((records.VERSION + 1, None, None))
    redis.set(keyspace.shard(0).room(ROOMS[0]), newer)
    inbox.deposit(opened(ROOMS[0]), "")
    serving = Serving(store, Drain(store, BOUNDS, Lines(audit.writing)), Leaving(), lambda _: True)
    serving.drain(0)
    # It was read, and could not be taken.
    assert redis.xlen(keyspace.shard(0).inbox) == 1
    assert [one for one in gc.get_objects() if isinstance(one, Arrival)] == []


def test_leases_that_nothing_is_committed_under_do_not_run_out(
    worker: Worker, inbox: Inbox, redis: Redis, keyspace: Keyspace, eventually: Eventually
) -> None:
    inbox.deposit(opened(ROOMS[0]), "")
    served = worker.wake(0, slice_seconds=0.05)
    eventually(lambda: held(redis, keyspace) == {*SHARDS})
    first = redis.get(keyspace.shard(5).lease)
    # Each slice takes them anew.
    eventually(lambda: redis.get(keyspace.shard(5).lease) not in {first, None})
    assert not served.done()


def test_a_room_is_read_again_when_somebody_else_has_committed(
    store: Store, redis: Redis, inbox: Inbox, audit: AuditOutput
) -> None:
    one, other = (Drain(store, BOUNDS, Lines(audit.writing)) for _ in range(2))
    who = {"RoomSid": ROOMS[0]}
    for number, drain in enumerate([one, one, other, one, other, other, one]):
        inbox.deposit(connected(sid("PA", number), number) | who, "")
        assert drain.drain(0, {}).callbacks == 1
    check_chain(published(redis))
    assert [line["n"] for line in audit.read()] == [1, 2, 3, 4, 5, 6, 7]


def test_a_room_is_not_read_again_by_whoever_committed_last(
    drain: Drain,
    store: Store,
    redis: Redis,
    keyspace: Keyspace,
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    who = {"RoomSid": ROOMS[0]}
    inbox.deposit(connected(PHONE, 0) | who, "")
    drain.drain(0, {})
    read: list[Any] = []
    load = store.load
    monkeypatch.setattr(store, "load", lambda *of: read.append(of) or load(*of))
    inbox.deposit(disconnected(PHONE, 1_000) | who, "")
    drain.drain(0, {})
    assert read == []
    assert published(redis)[-1].kind == "participant.left"
    # The commit of somebody else makes it doubtful.
    taken = asked(store, store.take(0, "another"))
    assert taken
    redis.set(keyspace.shard(0).commit, "9:another")
    asked(store, store.release(taken.hold, hand_on=True, audited=True))
    inbox.deposit(connected(sid("PA", 7), 2_000) | who, "")
    drain.drain(0, {})
    assert len(read) == 1


def test_sigterm_ends_whoever_lingers_and_comes_through_when_all_is_given_back(
    store: Store,
    audit: AuditOutput,
    redis: Redis,
    keyspace: Keyspace,
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Eventually,
) -> None:
    monkeypatch.setattr(serving, "LINGER_SECONDS", FOR_LONG)
    still_held: list[set[int]] = []
    before = signal.signal(signal.SIGTERM, lambda *_: still_held.append(held(redis, keyspace)))
    drain = Drain(store, BOUNDS, Lines(audit.writing), at_once=8)
    inbox.deposit(opened(ROOMS[0]), "")

    def ask() -> None:
        eventually(lambda: held(redis, keyspace) == {*SHARDS})
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    began = time.monotonic()
    try:
        Serving(store, drain, Leaving(), lambda _: True).answer(0, "task", share=8)
    finally:
        signal.signal(signal.SIGTERM, before)
        asking.join()
    assert time.monotonic() - began < 5.0
    assert still_held == [set()]
    assert is_told(redis, ROOMS[0])
