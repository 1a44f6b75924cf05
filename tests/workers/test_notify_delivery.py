"""The delivery: at least once to each target, whatever fails, against a real receiver and Redis."""

from __future__ import annotations

import hmac
import json
import signal
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest
import receivers
from alerting import NOON, Clock, event, publish
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from receivers import Sink
from redis import Redis
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from console.embedded import free_port
from schemas.alert_targets import AlertTarget, read_targets
from schemas.errors import LeaseLostError, UnreadableRecordError
from schemas.keys import Keyspace
from schemas.settings import Settings
from workers.notify.alertmanager import AlertmanagerChannel
from workers.notify.delivery import AT_ONCE, Delivery
from workers.notify.outbox import LEASE_MS, Hold, Outbox
from workers.notify.retry import TRIES
from workers.notify.steps import Failure, Rest, Situation, Step
from workers.notify.webhook import PATIENCE_MS, WebhookChannel

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + b64encode(bytes(range(24))).decode()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with receivers.sink() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(redis: Redis, keyspace: Keyspace) -> Outbox:
    return Outbox(redis, keyspace)


def delivery(outbox: Outbox, clock: Clock, *urls: str, slice_seconds: float = 20) -> Delivery:
    """Make a delivery to webhooks, that waits for the whole of each backoff."""
    channels = {one.name: WebhookChannel(one) for one in read_targets(" ".join(urls))}
    made = Delivery(outbox, channels, now=clock, draw=lambda: 1.0, slice_seconds=slice_seconds)
    made.due_targets()
    return made


def hook(sink: Sink, path: str = "/hook?a=1&") -> str:
    return f"webhook://127.0.0.1:{sink.port}{path}secret={SECRET}"


def name_of(url: str) -> str:
    return read_targets(url)[0].name


def ids(sink: Sink) -> list[str]:
    return [posted.headers["webhook-id"] for posted in sink.posted]


def test_every_alert_is_posted_in_order_signed_and_as_a_cloudevent(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    made = delivery(outbox, clock, hook(sink))
    clock.passes(1)
    published = [event(), event("changed"), event("resolved")]
    for one in published:
        publish(redis, one, clock.now)
    [target] = made.due_targets()
    made.deliver(target)
    assert made.due_targets() == []
    assert ids(sink) == [one.id for one in published]
    for posted, one in zip(sink.posted, published, strict=True):
        assert posted.path == "/hook?a=1"
        assert posted.headers["content-type"] == "application/cloudevents+json"
        assert posted.headers["webhook-timestamp"] == str(clock.now // 1000)
        signed = b".".join((one.id.encode(), b"%d" % (clock.now // 1000), posted.body))
        key = b64decode(SECRET.removeprefix("whsec_"))
        digest = b64encode(hmac.digest(key, signed, sha256)).decode()
        assert posted.headers["webhook-signature"] == f"v1,{digest}"
        read = JSONFormat().read(CloudEvent, posted.body.decode())
        assert read.get_type() == one.type
        assert posted.json["data"] == json.loads(one.data)


def test_what_is_sent_now_is_verified_by_the_library_of_standard_webhooks(
    outbox: Outbox, redis: Redis, sink: Sink
) -> None:
    url = f"{hook(sink)}&secret={OLD_SECRET}"
    channels = {one.name: WebhookChannel(one) for one in read_targets(url)}
    made = Delivery(outbox, channels)
    made.due_targets()
    publish(redis, event())
    made.deliver(name_of(url))
    [posted] = sink.posted
    # While a secret is being replaced, both fit.
    for secret in (SECRET, OLD_SECRET):
        assert Webhook(secret).verify(posted.body, posted.headers) == posted.json


def test_a_receiver_that_fails_first_gets_the_alert_again_with_the_same_id_after_growing_waits(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    made = delivery(outbox, clock, hook(sink))
    sink.answer(500, 503, 429)
    one = publish(redis, event())
    for wait in (1, 2, 4):
        [target] = made.due_targets()
        made.deliver(target)
        clock.passes(wait - 0.001)
        assert made.due_targets() == []
        # Nor does a task that comes all the same.
        made.deliver(target)
        clock.passes(0.001)
    made.deliver(target)
    assert ids(sink) == [one] * 4
    assert len({posted.body for posted in sink.posted}) == 1
    assert len({posted.headers["webhook-timestamp"] for posted in sink.posted}) == 4
    assert made.due_targets() == []


def test_the_waits_outlive_the_worker(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    made = delivery(outbox, clock, hook(sink))
    sink.answer(500)
    publish(redis, event())
    made.deliver(name_of(hook(sink)))
    another = delivery(outbox, clock, hook(sink))
    assert another.due_targets() == []
    clock.passes(1)
    assert another.due_targets() == [name_of(hook(sink))]


def test_a_target_that_is_down_holds_up_no_other(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    down = f"webhook://127.0.0.1:{free_port()}/?secret={SECRET}"
    made = delivery(outbox, clock, down, hook(sink))
    published = []
    for _ in range(3):
        published.append(publish(redis, event(), clock.now))
        with capture_logs() as logs:
            for target in made.due_targets():
                made.deliver(target)
        clock.passes(0.5)
    assert ids(sink) == published
    assert SECRET not in str(logs)


def test_a_new_target_begins_with_what_comes_and_not_with_history(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    publish(redis, event())
    made = delivery(outbox, clock, hook(sink))
    assert made.due_targets() == []
    new = publish(redis, event())
    for target in made.due_targets():
        made.deliver(target)
    assert ids(sink) == [new]


def test_nothing_is_sent_before_the_place_to_begin_is_known(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    made = Delivery(outbox, {"x": WebhookChannel(read_targets(hook(sink))[0])}, now=clock)
    publish(redis, event())
    made.deliver("x")
    assert sink.posted == []


def test_a_worker_that_dies_after_sending_has_the_alert_sent_again(
    outbox: Outbox, redis: Redis, keyspace: Keyspace, clock: Clock, sink: Sink
) -> None:
    target = name_of(hook(sink))
    made = delivery(outbox, clock, hook(sink))
    one, two = publish(redis, event()), publish(redis, event())
    # As if the worker were gone: its lease runs out before it has stored what it has sent.
    sink.meanwhile.append(lambda: redis.delete(keyspace.target(target).lease))
    with pytest.raises(LeaseLostError):
        made.deliver(target)
    # A try that nobody knows the end of counts as a failure.
    assert made.due_targets() == []
    clock.passes(1)
    assert made.due_targets() == [target]
    made.deliver(target)
    assert ids(sink) == [one, one, two]


def test_alerts_that_were_trimmed_away_before_they_were_delivered_are_told(
    outbox: Outbox, redis: Redis, keyspace: Keyspace, clock: Clock, sink: Sink
) -> None:
    target = name_of(hook(sink))
    publish(redis, event())
    made = delivery(outbox, clock, hook(sink))
    for _ in range(3):
        publish(redis, event())
    left = publish(redis, event())
    redis.xtrim(keyspace.alerts, maxlen=1, approximate=False)
    with capture_logs() as logs:
        made.deliver(target)
    assert ids(sink) == [left]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["alerts_trimmed"]


def test_what_cannot_be_read_of_a_target_is_not_tried_without_end(
    outbox: Outbox, redis: Redis, keyspace: Keyspace, clock: Clock
) -> None:
    channel = AlertmanagerChannel(read_targets("alertmanager://127.0.0.1:1/")[0])
    made = Delivery(outbox, {"x": channel}, now=clock)
    made.due_targets()
    redis.hset(keyspace.target("x").firing, "key", b"\xc1")
    publish(redis, event())
    assert made.due_targets() == ["x"]
    made.deliver("x")
    assert made.due_targets() == []
    clock.passes(300)
    assert made.due_targets() == ["x"]


def test_targets_that_hang_leave_processes_for_the_others(
    outbox: Outbox, redis: Redis, keyspace: Keyspace, clock: Clock, sink: Sink
) -> None:
    channel = WebhookChannel(read_targets(hook(sink))[0])
    made = Delivery(outbox, {f"t{number}": channel for number in range(20)}, now=clock)
    made.due_targets()
    publish(redis, event())
    assert len(made.due_targets()) == AT_ONCE
    for number in range(AT_ONCE - 1):
        redis.set(keyspace.target(f"t{number}").lease, "somebody's")
    assert len(made.due_targets()) == 1
    redis.set(keyspace.target("t9").lease, "somebody's")
    assert made.due_targets() == []


def test_in_a_cluster_a_target_has_a_place_in_each_stream_and_one_delivery_at_a_time(
    redis: Redis, clock: Clock, sink: Sink
) -> None:
    keyspace = Keyspace("rollcall", clustered=True)
    [target] = read_targets(hook(sink))
    lanes = {lane: WebhookChannel(target) for lane in keyspace.lanes(target.name, 8)}
    made = Delivery(Outbox(redis, keyspace), lanes, now=clock)
    assert made.due_targets() == []
    published = {publish(redis, event(), stream=f"rollcall:{{{shard}}}:alerts") for shard in (1, 6)}
    delivered = set()
    while due := made.due_targets():
        [lane] = due
        made.deliver(lane)
        delivered.add(lane)
    assert delivered == {f"{target.name}@1", f"{target.name}@6"}
    assert len(sink.posted) == 2
    assert set(ids(sink)) == published


# A worker of its own that delivers to one target; it ends by being killed.
DELIVER = """
import sys
from redis import Redis
from schemas.alert_targets import read_targets
from schemas.keys import Keyspace
from workers.notify.delivery import Delivery
from workers.notify.outbox import Outbox
from workers.notify.webhook import WebhookChannel
url, target = sys.argv[1], read_targets(sys.argv[2])[0]
outbox = Outbox(Redis.from_url(url), Keyspace("rollcall"))
Delivery(outbox, {target.name: WebhookChannel(target)}).deliver(target.name)
"""


def test_a_worker_that_is_killed_while_it_sends_loses_nothing(
    outbox: Outbox,
    redis: Redis,
    keyspace: Keyspace,
    settings: Settings,
    clock: Clock,
    sink: Sink,
) -> None:
    made = delivery(outbox, clock, hook(sink))
    target = name_of(hook(sink))
    published = [publish(redis, event()) for _ in range(3)]
    command = [sys.executable, "-c", DELIVER, settings.redis_url, hook(sink)]
    with subprocess.Popen(command) as worker:
        # Before the second one is answered.
        sink.meanwhile += [lambda: None, worker.kill]
        assert worker.wait(60) == -signal.SIGKILL
    # Nobody takes its place before its lease has run out.
    made.deliver(target)
    assert made.due_targets() == []
    redis.delete(keyspace.target(target).lease)
    assert made.due_targets() == [target]
    made.deliver(target)
    first, second, third = published
    assert ids(sink) == [first, second, second, third]


def test_two_workers_never_send_to_one_target_at_once(
    outbox: Outbox, redis: Redis, keyspace: Keyspace, clock: Clock, sink: Sink
) -> None:
    made = delivery(outbox, clock, hook(sink))
    target = name_of(hook(sink))
    one = publish(redis, event())
    others: list[list[str]] = []

    def another_comes() -> None:
        made.deliver(target)
        others.append(made.due_targets())
        assert 0 < redis.pttl(keyspace.target(target).lease) <= LEASE_MS

    sink.meanwhile.append(another_comes)
    made.deliver(target)
    assert others == [[]]
    assert ids(sink) == [one]


def test_a_lease_that_ran_out_moves_no_cursor_and_frees_nobody_elses(
    outbox: Outbox, redis: Redis, keyspace: Keyspace
) -> None:
    outbox.begin("x", "0-0")
    stale, fresh = Hold("x", "stale"), Hold("x", "fresh")
    state = outbox.take(stale)
    assert state
    redis.delete(keyspace.target("x").lease)
    assert outbox.take(fresh) == state
    with pytest.raises(LeaseLostError):
        outbox.commit(stale, state._replace(cursor="9-9"), {"key": b"value"})
    outbox.release(stale)
    assert outbox.take(Hold("x", "third")) is None
    assert outbox.firing("x") == {}
    outbox.commit(fresh, state, {"key": b"value"})
    assert outbox.firing("x") == {"key": b"value"}
    outbox.commit(fresh, state, {"key": None})
    assert outbox.firing("x") == {}


class _Interrupted(WebhookChannel):
    """Something happens between the reading of an alert and its sending."""

    def __init__(self, target: AlertTarget, happens: Callable[[], object]) -> None:
        super().__init__(target)
        self._happens = happens

    def next(self, at: Situation) -> Step | Rest:
        self._happens()
        return super().next(at)


def test_a_worker_that_lost_its_lease_before_it_sends_does_not_send(
    outbox: Outbox, redis: Redis, keyspace: Keyspace, clock: Clock, sink: Sink
) -> None:
    lease = keyspace.target("x").lease
    channel = _Interrupted(read_targets(hook(sink))[0], lambda: redis.delete(lease))
    made = Delivery(outbox, {"x": channel}, now=clock)
    made.due_targets()
    publish(redis, event())
    with pytest.raises(LeaseLostError):
        made.deliver("x")
    assert sink.posted == []


class _Faulty(WebhookChannel):
    """Fails in a way that nobody has thought of."""

    def send(self, step: Step) -> Failure | None:
        raise RuntimeError(f"hidden: {step}")


def test_a_fault_of_our_own_is_a_failure_like_any_other(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    made = Delivery(
        outbox, {"x": _Faulty(read_targets(hook(sink))[0])}, now=clock, draw=lambda: 1.0
    )
    made.due_targets()
    publish(redis, event())
    with capture_logs() as logs:
        made.deliver("x")
    assert [(line["reason"], line["detail"]) for line in logs] == [("error", "RuntimeError")]
    assert made.due_targets() == []
    clock.passes(1)
    assert made.due_targets() == ["x"]


def test_two_that_begin_with_a_target_begin_at_the_same_place(outbox: Outbox) -> None:
    outbox.begin("x", "1-0")
    outbox.begin("x", "2-0")
    state = outbox.take(Hold("x", "mine"))
    assert state
    assert state.cursor == "1-0"


def test_a_slice_gives_way_and_the_sweep_has_it_taken_up_again(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    made = delivery(outbox, clock, hook(sink), slice_seconds=0)
    published = [publish(redis, event()) for _ in range(3)]
    sweeps = 0
    while targets := made.due_targets():
        made.deliver(targets[0])
        sweeps += 1
    assert ids(sink) == published
    # One more, that finds nothing to do.
    assert sweeps == 4


def test_an_alert_that_is_refused_as_such_is_set_aside_and_the_rest_goes_on(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    made = delivery(outbox, clock, hook(sink))
    sink.answer(*[422] * TRIES)
    refused, fine = publish(redis, event()), publish(redis, event())
    with capture_logs() as logs:
        for _ in range(TRIES + 1):
            for target in made.due_targets():
                made.deliver(target)
            clock.passes(300)
    assert ids(sink) == [refused] * TRIES + [fine]
    [said] = [line for line in logs if line["event"] == "alerts_set_aside"]
    assert said["log_level"] == "error"
    assert (said["alerts"], said["reason"], said["attempt"]) == ([refused], "status-422", TRIES)


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_target_that_is_at_fault_itself_is_waited_for_three_days(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink, status: int
) -> None:
    made = delivery(outbox, clock, hook(sink))
    sink.answer(*[status] * (TRIES + 2))
    one = publish(redis, event())
    [target] = made.due_targets()
    for _ in range(TRIES + 1):
        made.deliver(target)
        clock.passes(300)
    assert made.due_targets() == [target]
    clock.now = NOON + PATIENCE_MS + 1
    made.deliver(target)
    assert ids(sink) == [one] * (TRIES + 2)
    clock.passes(3600)
    for due in made.due_targets():
        made.deliver(due)
    assert ids(sink) == [one] * (TRIES + 2)


def test_a_redirect_is_a_failure_and_is_not_followed(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    made = delivery(outbox, clock, hook(sink))
    sink.answer(307, Location=f"http://127.0.0.1:{sink.port}/elsewhere")
    publish(redis, event())
    made.deliver(name_of(hook(sink)))
    assert [posted.path for posted in sink.posted] == ["/hook?a=1"]
    clock.passes(1)
    assert len(made.due_targets()) == 1


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (503, {"Retry-After": "120"}, 120),
        (503, {"Retry-After": "99999999999999"}, 3600),
        (503, {"Retry-After": "Fri, 31 Dec 2027 23:59:59 GMT"}, 1),
        (503, {"Retry-After": "-5"}, 1),
        (410, {}, 24 * 3600),
    ],
)
def test_a_receiver_may_ask_for_patience(
    outbox: Outbox,
    redis: Redis,
    clock: Clock,
    sink: Sink,
    status: int,
    headers: dict[str, str],
    seconds: int,
) -> None:
    made = delivery(outbox, clock, hook(sink))
    sink.answer(status, **headers)
    publish(redis, event())
    made.deliver(name_of(hook(sink)))
    clock.passes(seconds - 0.001)
    assert made.due_targets() == []
    clock.passes(0.001)
    assert len(made.due_targets()) == 1


def test_what_nobody_can_read_is_said_and_passed_over(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    made = delivery(outbox, clock, hook(sink))
    redis.xadd("rollcall:alerts", {"hello": "world"})
    redis.xadd("rollcall:alerts", {"id": "x", "type": "y", "time": "z", "data": "[]"})
    with capture_logs() as logs:
        made.deliver(name_of(hook(sink)))
    assert [line["event"] for line in logs] == ["alert_unreadable"] * 2
    assert made.due_targets() == []
    one = publish(redis, event())
    made.deliver(name_of(hook(sink)))
    assert ids(sink) == [one]


def test_a_damaged_state_is_left_as_it_is_and_hides_no_other_target(
    outbox: Outbox, redis: Redis, keyspace: Keyspace, clock: Clock, sink: Sink
) -> None:
    other = hook(sink, "/other?")
    made = delivery(outbox, clock, hook(sink), other)
    key = keyspace.target(name_of(hook(sink))).state
    redis.set(key, b"damaged")
    publish(redis, event())
    with capture_logs() as logs:
        assert made.due_targets() == [name_of(other)]
    assert [line["event"] for line in logs] == ["target_not_looked_at"]
    with pytest.raises(UnreadableRecordError):
        made.deliver(name_of(hook(sink)))
    assert redis.get(key) == b"damaged"


def test_a_target_without_work_is_remembered_for_as_long_as_it_is_in_use(
    outbox: Outbox, redis: Redis, keyspace: Keyspace, clock: Clock, sink: Sink
) -> None:
    made = delivery(outbox, clock, hook(sink))
    key = keyspace.target(name_of(hook(sink))).state
    redis.pexpire(key, 10_000)
    made.due_targets()
    assert redis.pttl(key) > 10_000


def test_no_log_line_shows_an_address_or_a_secret(
    outbox: Outbox, redis: Redis, clock: Clock, sink: Sink
) -> None:
    url = f"webhook://user:hidden@127.0.0.1:{sink.port}/hidden?hidden=1&secret={SECRET}"
    made = delivery(outbox, clock, url)
    sink.answer(500)
    publish(redis, event())
    with capture_logs() as logs:
        made.deliver(name_of(url))
        clock.passes(1)
        made.deliver(name_of(url))
    assert [line["event"] for line in logs] == ["alerts_not_delivered", "alerts_delivered"]
    assert sink.posted[0].headers["authorization"].startswith("Basic ")
    assert not any(word in str(logs) for word in ("hidden", SECRET, "127.0.0.1"))
