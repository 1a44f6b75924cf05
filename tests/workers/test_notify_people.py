"""People, through Apprise: real mail to a real SMTP server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
import receivers
from alerting import OTHER_ROOM, Clock, event, publish
from receivers import MailServer, Sink
from redis import Redis
from structlog.testing import capture_logs

from console.embedded import free_port
from schemas.alert_targets import read_targets
from schemas.errors import BadSettingError
from schemas.keys import Keyspace
from workers.notify.delivery import Delivery
from workers.notify.outbox import Outbox
from workers.notify.people import PeopleChannel


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    # Apprise waits for 5.5 s between two messages to a service.
    monkeypatch.setattr("apprise.plugins.base.NotifyBase.request_rate_per_sec", 0.0)


@pytest.fixture
def server() -> Iterator[MailServer]:
    made = MailServer()
    yield made
    made.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with receivers.sink() as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root_log() -> Iterator[list[str]]:
    """What reaches the log of the process; pytest's own listens to cut-off loggers as well."""
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler = Handler()
    logging.getLogger().addHandler(handler)
    yield said
    logging.getLogger().removeHandler(handler)


class Sweeps:
    """Delivers to one target whatever is due."""

    def __init__(self, redis: Redis, keyspace: Keyspace, url: str, clock: Clock) -> None:
        [target] = read_targets(url)
        channels = {target.name: PeopleChannel(target)}
        self._delivery = Delivery(Outbox(redis, keyspace), channels, now=clock, draw=lambda: 1.0)
        self._delivery.due_targets()

    def __call__(self) -> int:
        due = self._delivery.due_targets()
        for target in due:
            self._delivery.deliver(target)
        return len(due)


@pytest.fixture
def sweep(redis: Redis, keyspace: Keyspace, server: MailServer, clock: Clock) -> Sweeps:
    return Sweeps(redis, keyspace, server.url, clock)


def text(mail: EmailMessage) -> str:
    content = mail.get_content()
    assert isinstance(content, str)
    return content.strip()


def test_an_alert_comes_as_a_mail_at_once(sweep: Sweeps, redis: Redis, server: MailServer) -> None:
    publish(redis, event(summary="'<b>Dana</b> *x*' was thrown out.", severity="critical"))
    assert sweep() == 1
    mail = server.mails.get_nowait()
    assert mail["To"] == "ops@rollcall.example"
    assert mail["Subject"] == "Rollcall, critical: room 'Standup'"
    assert text(mail) == "'<b>Dana</b> *x*' was thrown out."
    assert sweep() == 0


def test_a_room_gets_one_mail_in_30_seconds_and_what_came_meanwhile_is_in_the_next(
    sweep: Sweeps, redis: Redis, server: MailServer, clock: Clock
) -> None:
    publish(redis, event(summary="One."))
    assert sweep() == 1
    clock.passes(1)
    publish(redis, event("changed", summary="Two."))
    publish(redis, event(summary="Elsewhere.", room=OTHER_ROOM, room_name=None))
    publish(redis, event("resolved", summary="Three."))
    assert sweep() == 1
    assert [text(server.mails.get_nowait()) for _ in range(2)] == ["One.", "Elsewhere."]
    clock.passes(28.999)
    assert sweep() == 0
    clock.passes(0.001)
    assert sweep() == 1
    assert text(server.mails.get_nowait()).splitlines() == ["Worse: Two.", "Resolved: Three."]
    clock.passes(3600)
    assert sweep() == 0
    assert server.mails.empty()


def test_a_mail_that_is_not_taken_comes_again_with_what_was_added_since(
    sweep: Sweeps, redis: Redis, server: MailServer, clock: Clock
) -> None:
    server.refuses = True
    publish(redis, event(summary="One."))
    assert sweep() == 1
    publish(redis, event(summary="Two."))
    assert sweep() == 0
    server.refuses = False
    # Whoever has got a part of it already is not told again at once.
    clock.passes(29.9)
    assert sweep() == 0
    clock.passes(0.1)
    assert sweep() == 1
    assert text(server.mails.get_nowait()).splitlines() == ["One.", "Two."]
    assert sweep() == 0
    assert server.mails.empty()


def test_a_service_that_is_away_is_said_without_what_may_be_a_secret(
    redis: Redis,
    keyspace: Keyspace,
    sink: Sink,
    clock: Clock,
    root_log: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    url = f"json://user:hidden@127.0.0.1:{sink.port}/hidden-too"
    sweep = Sweeps(redis, keyspace, url, clock)
    sink.answer(500)
    publish(redis, event())
    with capture_logs() as logs:
        assert sweep() == 1
        clock.passes(30)
        assert sweep() == 1
    failed, delivered = logs
    assert (failed["event"], failed["reason"]) == ("alerts_not_delivered", "apprise-failure")
    assert "500" in failed["detail"]
    assert delivered["event"] == "alerts_delivered"
    shown = f"{logs}{root_log}{''.join(capfd.readouterr())}"
    assert not any(word in shown for word in ("hidden", "127.0.0.1", str(sink.port)))


def test_why_a_service_was_not_reached_is_told_without_parts_of_its_url(
    redis: Redis, keyspace: Keyspace, clock: Clock
) -> None:
    sweep = Sweeps(redis, keyspace, f"json://127.0.0.1:{free_port()}/", clock)
    publish(redis, event())
    with capture_logs() as logs:
        sweep()
    [failed] = logs
    # Apprise itself names the host.
    assert failed["detail"].endswith("JSON notification to ***.")


@pytest.mark.parametrize("url", ["nosuch://hidden", "slack://hidden", "mailto://"])
def test_what_apprise_does_not_understand_is_refused_without_showing_it(
    url: str, root_log: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadSettingError, match=r"^ROLLCALL_ALERT_TARGETS: ") as caught:
        PeopleChannel(read_targets(url)[0])
    shown = f"{caught.value}{root_log}{''.join(capfd.readouterr())}"
    assert "hidden" not in shown


def test_where_a_part_of_a_target_has_it_nobody_gets_it_again(
    redis: Redis, keyspace: Keyspace, sink: Sink, clock: Clock
) -> None:
    channel = PeopleChannel(read_targets(f"json://127.0.0.1:{sink.port}/")[0])
    channel._apprise.add(f"json://127.0.0.1:{free_port()}/")  # noqa: SLF001  # as a list of mails is
    delivery = Delivery(Outbox(redis, keyspace), {"x": channel}, now=clock)
    delivery.due_targets()
    publish(redis, event())
    with capture_logs() as logs:
        delivery.deliver("x")
        clock.passes(3600)
        delivery.deliver("x")
    assert len(sink.posted) == 1
    assert "alerts_partly_delivered" in [line["event"] for line in logs]


def test_several_services_under_one_url_are_refused() -> None:
    (target,) = read_targets("json://127.0.0.1/,json://127.0.0.2/")
    with pytest.raises(BadSettingError, match="several"):
        PeopleChannel(target)


def test_an_identity_does_not_call_everybody(
    redis: Redis, keyspace: Keyspace, sink: Sink, clock: Clock
) -> None:
    sweep = Sweeps(redis, keyspace, f"json://127.0.0.1:{sink.port}/", clock)
    publish(redis, event(summary="'@everyone <@&1> <!here> a < b' was thrown out."))
    assert sweep() == 1
    said = sink.posted[0].json["message"]
    assert said == "'@\u200beveryone <\u200b@\u200b&1> <\u200b!here> a < b' was thrown out."


def test_a_redirect_is_not_followed(
    redis: Redis, keyspace: Keyspace, sink: Sink, clock: Clock
) -> None:
    sweep = Sweeps(redis, keyspace, f"json://user:hidden@127.0.0.1:{sink.port}/", clock)
    sink.answer(307, Location=f"http://127.0.0.1:{sink.port}/elsewhere")
    publish(redis, event())
    assert sweep() == 1
    assert [one.path for one in sink.posted] == ["/"]


def test_a_clock_that_was_wrong_silences_no_room(
    redis: Redis, keyspace: Keyspace, sink: Sink, clock: Clock
) -> None:
    sweep = Sweeps(redis, keyspace, f"json://127.0.0.1:{sink.port}/", clock)
    clock.passes(365 * 24 * 3600)
    publish(redis, event())
    assert sweep() == 1
    clock.passes(-365 * 24 * 3600)
    publish(redis, event())
    assert sweep() == 1
    assert len(sink.posted) == 2
