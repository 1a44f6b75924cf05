"""What the door takes: every recorded callback, POST and GET, whatever URL Twilio knows it by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from audits import AuditOutput
from flask import Response
from redis import Redis

from ingest.form import read_form
from schemas.keys import Keyspace, shard_of
from schemas.logs import Lines
from schemas.settings import Settings
from workers.app import bounds_of
from workers.drain import Drain
from workers.store import Store

Deposited = Callable[[], list[tuple[dict[str, str], str]]]


@pytest.fixture
def body(recorded: list[dict[str, Any]]) -> str:
    return recorded[0]["body"]


def test_every_recorded_callback_is_taken_and_kept_as_it_came(
    twilio: Any, recorded: list[dict[str, Any]], deposited: Deposited
) -> None:
    for one in recorded:
        answer = twilio.signing(headers=one["headers"]).post(one["body"])
        assert (answer.status_code, answer.data) == (204, b"")
    token = "i-twilio-idempotency-token"
    expected = [(list(one["params"].items()), one["headers"].get(token, "")) for one in recorded]
    assert sorted((list(params.items()), token) for params, token in deposited()) == sorted(
        expected
    )


def test_every_recorded_callback_is_taken_by_get_as_well(
    twilio: Any, recorded: list[dict[str, Any]], deposited: Deposited
) -> None:
    for one in recorded:
        assert twilio.get(one["body"]).status_code == 204
    assert sorted(list(params.items()) for params, _ in deposited()) == sorted(
        list(one["params"].items()) for one in recorded
    )


def test_an_answer_has_no_body_and_no_content_type(twilio: Any, body: str) -> None:
    answer = twilio.post(body)
    assert (answer.status, answer.data, answer.content_type) == ("204 NO CONTENT", b"", None)


def test_what_a_hook_adds_to_an_answer_is_sent(twilio: Any, body: str) -> None:
    @twilio.client.application.after_request
    def add(answer: Response) -> Response:
        answer.headers["X-Added"] = "yes"
        return answer

    assert list(twilio.post(body).headers) == [("X-Added", "yes")]


def test_an_identity_survives_byte_for_byte(
    twilio: Any, recorded: list[dict[str, Any]], deposited: Deposited
) -> None:
    identity = " Visitor's\u00a0 Phöne \t\N{TELEPHONE RECEIVER}+ "
    [params] = [
        one["params"]
        for one in recorded
        if one["params"]["StatusCallbackEvent"] == "participant-connected"
    ][:1]
    sent = params | {"ParticipantIdentity": identity}
    twilio.post("&".join(f"{name}={quote(value)}" for name, value in sent.items()))
    assert deposited() == [(sent, "")]


def test_parameters_that_are_not_known_are_kept(
    twilio: Any, body: str, deposited: Deposited
) -> None:
    assert twilio.post(f"{body}&NewParameter=&%C3%A9=1").status_code == 204
    [(params, _)] = deposited()
    assert list(params.items())[-2:] == [("NewParameter", ""), ("é", "1")]


def test_an_event_that_is_not_known_is_kept(twilio: Any, deposited: Deposited) -> None:
    account = "AC" + "0" * 32
    answer = twilio.post(f"StatusCallbackEvent=room-painted&AccountSid={account}&Colour=blue")
    assert answer.status_code == 204
    [(params, _)] = deposited()
    assert params["Colour"] == "blue"


def test_one_wake_up_is_sent_for_all_callbacks_of_a_shard(
    twilio: Any, recorded_room: list[dict[str, str]], recorded: list[dict[str, Any]], bell: Any
) -> None:
    room_sid = recorded_room[0]["RoomSid"]
    for one in recorded:
        if one["params"]["RoomSid"] == room_sid:
            twilio.post(one["body"])
    assert bell.rung == [shard_of(room_sid, 8)]


def test_the_idempotency_token_is_kept_and_bounded(
    twilio: Any, body: str, deposited: Deposited
) -> None:
    twilio.signing(headers={"I-Twilio-Idempotency-Token": "x" * 10_000}).post(body)
    assert [token for _, token in deposited()] == ["x" * 128]


def test_the_charset_of_the_content_type_does_not_matter(twilio: Any, body: str) -> None:
    content_type = "application/X-WWW-Form-Urlencoded; charset=UTF-8"
    assert twilio.post(body, content_type=content_type).status_code == 204


def test_a_query_signed_as_node_writes_it_is_taken(twilio: Any, body: str) -> None:
    signed = twilio.signed(f"{twilio.url}?who=a%40b%20c'", dict(read_form(body.encode()).pairs))
    for query, status in (("who=a@b+c%27", 204), ("who=a%40b%20c'", 204), ("who=a@b+d%27", 403)):
        answer = twilio.client.post(
            "/callbacks",
            data=body,
            query_string=query,
            content_type="application/x-www-form-urlencoded",
            headers=signed,
        )
        assert answer.status_code == status


@pytest.mark.parametrize("query", ["a=b", "a=%20b%2f'@:&a=b&&c", "%", "=", "é%ff"])
def test_a_query_of_the_registered_url_is_signed_as_it_is_and_holds_no_parameters(
    twilio: Any, body: str, query: str, deposited: Deposited, recorded: list[dict[str, Any]]
) -> None:
    assert twilio.post(body, query=query).status_code == 204
    [(params, _)] = deposited()
    assert params == recorded[0]["params"]


def test_a_public_url_may_have_a_path_prefix_and_a_port(
    door: Callable[..., Any], body: str
) -> None:
    twilio = door(public_url="https://example.com:8443/rollcall/v1")
    assert twilio.post(body).status_code == 403
    url = "https://example.com:8443/rollcall/v1/callbacks"
    assert twilio.signing(url=url).post(body).status_code == 204


def test_any_of_several_tokens_is_taken(door: Callable[..., Any], body: str) -> None:
    twilio = door(auth_tokens=("old", "new"))
    assert twilio.signing(token="old").post(body).status_code == 204
    assert twilio.signing(token="new").post(body).status_code == 204
    assert twilio.signing(token="other").post(body).status_code == 403


def test_an_account_with_a_token_of_its_own_is_judged_by_that_alone(
    door: Callable[..., Any], body: str, recorded: list[dict[str, Any]]
) -> None:
    account = recorded[0]["params"]["AccountSid"]
    other = "AC" + "0" * 32
    twilio = door(auth_tokens=("main",), account_tokens={account: ("own",), other: ("other's",)})
    shouted = body.replace(account, "AC" + account[2:].upper())
    assert shouted != body
    for form in (body, shouted):
        assert twilio.signing(token="own").post(form).status_code == 204
        assert twilio.signing(token="own").get(form).status_code == 204
        for token in ("main", "other's"):
            assert twilio.signing(token=token).post(form).status_code == 403
            assert twilio.signing(token=token).get(form).status_code == 403
    third = body.replace(account, "AC" + "1" * 32)
    assert twilio.signing(token="main").post(third).status_code == 204
    assert twilio.signing(token="own").post(third).status_code == 403


def test_tokens_of_accounts_alone_open_the_door_to_those(
    door: Callable[..., Any], body: str, recorded: list[dict[str, Any]]
) -> None:
    account = recorded[0]["params"]["AccountSid"]
    twilio = door(auth_tokens=(), account_tokens={account: ("own",)}).signing(token="own")
    assert twilio.post(body).status_code == 204
    other = twilio.post(body.replace(account, "AC" + "1" * 32))
    assert (other.status_code, other.json["reason"]) == (403, "signature-mismatch")


@pytest.mark.parametrize("token", ["main", "own", "other's"])
def test_who_names_two_accounts_is_judged_by_a_token_of_neither_alone(
    door: Callable[..., Any], body: str, recorded: list[dict[str, Any]], token: str
) -> None:
    account = recorded[0]["params"]["AccountSid"]
    other = "AC" + "0" * 32
    twilio = door(auth_tokens=("main",), account_tokens={account: ("own",), other: ("other's",)})
    for second in (other, "AC" + "1" * 32, ""):
        for form in (f"{body}&AccountSid={second}", f"AccountSid={second}&{body}"):
            for answer in (twilio.signing(token=token).post(form), twilio.get(form)):
                assert answer.json["reason"] == "signature-mismatch"
    # The same account again is another matter, once it is verified.
    twice = twilio.signing(token="own").post(f"{body}&AccountSid={account}")
    assert twice.json["reason"] == "repeated-parameter"


def test_an_account_is_the_same_in_capital_hex_digits(
    door: Callable[..., Any], body: str, recorded: list[dict[str, Any]]
) -> None:
    account = recorded[0]["params"]["AccountSid"]
    shouted = "AC" + account[2:].upper()
    assert door(account_sids=frozenset({shouted})).post(body).status_code == 204
    again = door(account_sids=frozenset({account})).post(body.replace(account, shouted))
    assert again.status_code == 204


def test_a_callback_within_the_age_that_is_wanted_is_taken(
    door: Callable[..., Any], body: str
) -> None:
    assert door(max_age_seconds=315_360_000).post(body).status_code == 204


def test_an_event_without_a_time_has_no_age(door: Callable[..., Any]) -> None:
    form = f"StatusCallbackEvent=room-painted&AccountSid=AC{'0' * 32}"
    assert door(max_age_seconds=60).post(form).status_code == 204
    assert door(max_age_seconds=60).post(f"{form}&Timestamp=noon").status_code == 204


def test_a_request_that_is_sent_again_changes_nothing(
    twilio: Any, recorded: list[dict[str, Any]], redis: Redis, settings: Settings
) -> None:
    body, params = recorded[0]["body"], recorded[0]["params"]
    signed = {
        "data": body,
        "content_type": "application/x-www-form-urlencoded",
        "headers": twilio.signed(twilio.url, params),
    }
    audit = AuditOutput()
    store = Store(redis, Keyspace(settings.prefix), shards=settings.shards, maxlen=1000)
    drain = Drain(store, bounds_of(settings), Lines(audit.writing))
    verdicts = []
    for _ in range(2):
        assert twilio.client.post("/callbacks", **signed).status_code == 204
        drain.drain(shard_of(params["RoomSid"], settings.shards), {"task_id": "", "worker": ""})
        verdicts += [record["event"] for record in audit.read()]
    audit.close()
    assert verdicts == ["callback_applied", "callback_duplicate"]
    published = [entry[b"type"] for _, entry in redis.xrange("rollcall:events")]
    assert published == [b"rollcall.room.opened"]


def test_only_the_accounts_that_are_named_are_taken(
    door: Callable[..., Any], body: str, recorded: list[dict[str, Any]]
) -> None:
    account = recorded[0]["params"]["AccountSid"]
    assert door(account_sids=frozenset({account})).post(body).status_code == 204
    refused = door(account_sids=frozenset({"AC" + "0" * 32})).post(body)
    assert (refused.status_code, refused.json["reason"]) == (403, "account-not-allowed")


class TestWithoutPublicUrl:
    """The request's own scheme and host are signed; proxies are believed as far as they are."""

    FORWARDED = {  # noqa: RUF012  # a constant of the test
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "rollcall.example",
        "X-Forwarded-For": "198.51.100.7",
    }

    def test_the_url_of_the_request_itself_is_signed(
        self, door: Callable[..., Any], body: str
    ) -> None:
        twilio = door(public_url=None).signing(url="http://rollcall.internal:8080/callbacks")
        assert twilio.post(body, base_url="http://rollcall.internal:8080").status_code == 204
        assert twilio.post(body, base_url="http://other.internal:8080").status_code == 403

    def test_forwarding_headers_are_not_believed_by_default(
        self, door: Callable[..., Any], body: str
    ) -> None:
        twilio = door(public_url=None).signing(headers=self.FORWARDED)
        assert twilio.post(body).status_code == 403
        assert twilio.signing(url="http://localhost/callbacks").post(body).status_code == 204

    def test_the_forwarding_headers_of_a_trusted_proxy_are_believed(
        self, door: Callable[..., Any], body: str
    ) -> None:
        twilio = door(public_url=None, trusted_proxies=1).signing(headers=self.FORWARDED)
        assert twilio.post(body).status_code == 204

    def test_what_stands_before_the_trusted_proxy_is_not_believed(
        self, door: Callable[..., Any], body: str
    ) -> None:
        forged = self.FORWARDED | {"X-Forwarded-Host": "rollcall.example, the-real.example"}
        twilio = door(public_url=None, trusted_proxies=1).signing(headers=forged)
        assert twilio.post(body).status_code == 403
        twilio = twilio.signing(url="https://the-real.example/callbacks")
        assert twilio.post(body).status_code == 204

    def test_a_public_url_is_signed_whatever_the_headers_say(
        self, door: Callable[..., Any], body: str
    ) -> None:
        forged = self.FORWARDED | {"X-Forwarded-Host": "evil.example"}
        assert door(trusted_proxies=1).signing(headers=forged).post(body).status_code == 204


def test_a_callback_is_logged_in_one_line_without_anything_personal(
    twilio: Any, recorded: list[dict[str, Any]], log: list[Any]
) -> None:
    [one] = [one for one in recorded if one["params"].get("SequenceNumber") == "3"][:1]
    twilio.signing(headers={"I-Twilio-Idempotency-Token": "a-retry"}).post(one["body"])
    [line] = log
    room_sid = one["params"]["RoomSid"]
    assert line.pop("entry")
    assert line == {
        "event": "callback_accepted",
        "log_level": "info",
        "event_name": one["params"]["StatusCallbackEvent"],
        "room_sid": room_sid,
        "shard": shard_of(room_sid, 8),
        "spooled": False,
    }
