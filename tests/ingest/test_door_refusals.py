"""What the door refuses: which, in which order, in which words, and that nothing comes of it."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from console.embedded import EmbeddedRedis
from ingest.callbacks import MAX_BODY_BYTES, MAX_PARAMETERS, MAX_VALUE_BYTES, check_age
from ingest.form import read_form
from ingest.inbox import Inbox
from schemas.errors import TooOldError

FORM = "application/x-www-form-urlencoded"
Deposited = Callable[[], list[tuple[dict[str, str], str]]]


@pytest.fixture
def body(recorded: list[dict[str, Any]]) -> str:
    return recorded[0]["body"]


@pytest.fixture
def client(twilio: Any) -> FlaskClient:
    return twilio.client


@pytest.fixture(autouse=True)
def _nothing_of_what_is_refused_is_kept(deposited: Deposited, bell: Any) -> Iterator[None]:
    yield
    assert (deposited(), bell.rung) == ([], [])


def told(answer: TestResponse) -> tuple[int, str]:
    """The status and the reason of a well-formed problem."""
    assert answer.content_type == "application/problem+json"
    problem = answer.json
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:rollcall:problem:{problem['reason']}"
    assert problem["title"]
    return answer.status_code, problem["reason"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_told_which_ones_are_meant(client: FlaskClient, method: str) -> None:
    answer = client.open("/callbacks", method=method, data=b"x" * 100_000)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "POST"}
    if method != "HEAD":
        assert told(answer) == (405, "method-not-allowed")


@pytest.mark.parametrize(
    "path", ["/", "/callbacks/", "//callbacks", "/callbacks//", "/Callbacks", "/x/callbacks"]
)
def test_the_path_is_matched_exactly(client: FlaskClient, path: str) -> None:
    answer = client.post("/", environ_overrides={"PATH_INFO": path})
    assert told(answer) == (404, "not-found")


def test_a_body_that_announces_to_be_too_large_is_not_even_read(client: FlaskClient) -> None:
    class Unreadable(io.RawIOBase):
        def readinto(self, _buffer: Any) -> int:
            raise AssertionError("It was read.")

    answer = client.post(
        "/callbacks",
        environ_overrides={"wsgi.input": Unreadable(), "CONTENT_LENGTH": "100000"},
    )
    assert told(answer) == (413, "too-large")


@pytest.mark.parametrize(("pieces", "reason"), [(1001, "signature-mismatch"), (1002, "too-large")])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_who_need_not_sign_cannot_have_thousands_of_parameters_sorted(
    client: FlaskClient, method: str, pieces: int, reason: str
) -> None:
    sent = "&".join(["a"] * pieces)
    headers = {"X-Twilio-Signature": "anything"}
    answers = [client.open("/callbacks", method=method, query_string=sent, headers=headers)]
    if method == "POST":
        answers.append(client.post("/callbacks", data=sent, content_type=FORM, headers=headers))
    assert {told(answer)[1] for answer in answers} == {reason}


def test_a_chunked_body_is_bounded_too(client: FlaskClient) -> None:
    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self.given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.given += len(buffer)
            return len(buffer)

    stream = Endless()
    answer = client.post(
        "/callbacks",
        content_type=FORM,
        headers={"X-Twilio-Signature": "anything"},
        environ_overrides={"wsgi.input": stream, "wsgi.input_terminated": True},
    )
    assert told(answer) == (413, "too-large")
    assert stream.given <= MAX_BODY_BYTES + 1


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 403), (MAX_BODY_BYTES + 1, 413)])
@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_bound_is_exact(
    client: FlaskClient, size: int, status: int, method: str, terminated: bool
) -> None:
    environ = {"wsgi.input_terminated": True} if terminated else {}
    answer = client.open("/callbacks", method=method, data=b"x" * size, environ_overrides=environ)
    assert answer.status_code == status


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_request_without_a_signature_is_refused_as_such(client: FlaskClient, method: str) -> None:
    # It is also repeated, malformed and of the wrong type, which nobody is told who has not signed.
    answer = client.open("/callbacks?a=%ff", method=method, data=b"a=1&a=%ff")
    assert told(answer) == (403, "signature-missing")


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_request_with_another_signature_is_refused_as_such(
    client: FlaskClient, method: str
) -> None:
    answer = client.open(
        "/callbacks?a=%ff", method=method, data=b"a=1&a=%ff", headers={"X-Twilio-Signature": "é"}
    )
    assert told(answer) == (403, "signature-mismatch")


def test_two_signature_headers_are_a_mismatch_though_both_fit(twilio: Any, body: str) -> None:
    [good] = twilio.signed(twilio.url, dict(read_form(body.encode()).pairs)).values()
    for headers in ([("X-Twilio-Signature", good)] * 2, {"X-Twilio-Signature": f"{good}, {good}"}):
        answer = twilio.client.post("/callbacks", data=body, content_type=FORM, headers=headers)
        assert told(answer) == (403, "signature-mismatch")


def test_a_signature_does_not_fit_another_body_query_or_method(twilio: Any, body: str) -> None:
    headers = twilio.signed(twilio.url, {})
    for answer in (
        twilio.client.post("/callbacks", data=body, content_type=FORM, headers=headers),
        twilio.client.post("/callbacks?a=1", headers=headers),
        twilio.client.get(f"/callbacks?{body}", headers=headers),
    ):
        assert told(answer) == (403, "signature-mismatch")


def test_a_shared_keys_signature_is_a_mismatch_whatever_its_header_says(
    twilio: Any, body: str
) -> None:
    settings = {"X-Twilio-Webhooks-Signature-Settings": "key=k,algorithm=NONE"}
    answer = twilio.signing(token="a-shared-key", headers=settings).post(body)
    assert told(answer) == (403, "signature-mismatch")


def test_the_account_is_judged_before_the_parameters(
    door: Callable[..., Any], recorded: list[dict[str, Any]]
) -> None:
    account = recorded[0]["params"]["AccountSid"]
    twilio = door(account_sids=frozenset({account}))
    other = "AccountSid=AC" + "0" * 32
    for form in (other, f"{other}&{other}", f"AccountSid={account}&{other}"):
        assert told(twilio.post(form)) == (403, "account-not-allowed")
        assert told(twilio.get(form)) == (403, "account-not-allowed")
    # No account at all is not another account.
    assert told(twilio.post("StatusCallbackEvent=x")) == (400, "malformed")


def test_a_repeated_parameter_is_named_and_told_before_what_else_is_wrong(twilio: Any) -> None:
    form = "AccountSid=x&b=1&a=1&b=1&a=%zz"
    for answer in (twilio.post(form, content_type="text/plain"), twilio.get(form)):
        assert told(answer) == (400, "repeated-parameter")
        assert answer.json["names"] == ["b", "a"]


def test_what_is_wrong_with_each_parameter_is_told(
    twilio: Any, recorded: list[dict[str, Any]]
) -> None:
    params = recorded[0]["params"] | {"RoomSid": "RM1", "Timestamp": "yesterday"}
    del params["AccountSid"]
    form = "&".join(f"{name}={value}" for name, value in params.items())
    for answer in (twilio.post(form), twilio.get(form)):
        assert told(answer) == (400, "malformed")
        assert answer.json["fields"].keys() == {"RoomSid", "Timestamp", "AccountSid"}
        assert answer.json["fields"]["RoomSid"] == ["Not RM and 32 hex digits."]


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain", "multipart/x"])
def test_a_body_of_another_type_is_told_which_one_is_meant(
    twilio: Any, body: str, content_type: str
) -> None:
    answer = twilio.post(body, content_type=content_type)
    assert told(answer) == (400, "wrong-content-type")
    assert FORM in answer.json["detail"]


@pytest.mark.parametrize(
    ("garbage", "why"), [("RoomName=%ff", "Not UTF-8."), ("RoomName=%", "a %"), ("%zz=1", "a %")]
)
def test_what_no_encoder_wrote_is_told_as_that(twilio: Any, garbage: str, why: str) -> None:
    for answer in (twilio.post(garbage), twilio.get(garbage)):
        assert told(answer) == (400, "wrong-encoding")
        assert why in answer.json["detail"]


def test_more_parameters_than_a_callback_can_have_are_refused(
    twilio: Any, body: str, recorded: list[dict[str, Any]]
) -> None:
    already = len(recorded[0]["params"])
    more = [f"New{number}=1" for number in range(MAX_PARAMETERS + 1 - already)]
    form = "&".join([body, *more])
    for answer in (twilio.post(form, content_type="text/plain"), twilio.get(form)):
        assert told(answer) == (400, "too-many-parameters")


def test_a_value_longer_than_one_can_be_is_named_and_refused(twilio: Any, body: str) -> None:
    # Two bytes in UTF-8, six as they are sent.
    form = f"{body}&New=1&Long={'%C3%A9' * (MAX_VALUE_BYTES // 2)}x&RoomMood=%ff"
    assert len(form) < MAX_BODY_BYTES
    for answer in (twilio.post(form, content_type="text/plain"), twilio.get(form)):
        assert told(answer) == (400, "value-too-long")
        assert answer.json["names"] == ["Long"]


def test_the_reasons_for_a_400_come_in_their_order(twilio: Any) -> None:
    wrong = [
        ("repeated-parameter", "a=1"),
        ("too-many-parameters", "&".join(f"b{number}" for number in range(MAX_PARAMETERS))),
        ("value-too-long", f"c={'x' * (MAX_VALUE_BYTES + 1)}"),
        ("wrong-content-type", ""),
        ("wrong-encoding", "%"),
        ("malformed", ""),
    ]
    for number, (reason, _) in enumerate(wrong):
        still = wrong[number:]
        form = "&".join(["a=1", *(piece for _, piece in still if piece)])
        typed = "text/plain" if any(one == "wrong-content-type" for one, _ in still) else FORM
        assert told(twilio.post(form, content_type=typed)) == (400, reason)


def test_what_is_older_than_is_wanted_is_refused_once_it_is_verified(
    door: Callable[..., Any], body: str
) -> None:
    twilio = door(max_age_seconds=48 * 3600)
    assert told(twilio.post(body)) == (400, "too-old")
    assert told(twilio.get(body)) == (400, "too-old")
    assert told(twilio.signing(token="a-wrong-token").post(body)) == (403, "signature-mismatch")


AGED = {"Timestamp": "2023-08-14T20:00:00.500Z"}
STAMPED = 1_692_043_200.5


def test_the_age_is_counted_from_the_timestamp_to_the_clock_and_its_bound_is_taken() -> None:
    check_age(AGED, 60, STAMPED + 60)
    check_age(AGED, 60, STAMPED - 60)
    with pytest.raises(TooOldError):
        check_age(AGED, 60, STAMPED + 60.001)
    check_age(AGED, 0, STAMPED + 10**9)


@pytest.mark.parametrize("params", [{}, {"Timestamp": ""}, {"Timestamp": "yesterday"}])
def test_a_callback_without_a_time_that_can_be_read_has_no_age(params: dict[str, str]) -> None:
    check_age(params, 60, STAMPED + 10**9)


def test_an_empty_form_is_malformed(twilio: Any) -> None:
    answer = twilio.post("")
    assert told(answer) == (400, "malformed")
    assert answer.json["fields"].keys() == {"StatusCallbackEvent", "AccountSid"}


def test_without_redis_and_without_a_spool_the_answer_is_unavailable_at_once(
    door: Callable[..., Any], private_inbox: Inbox, private_redis: EmbeddedRedis, body: str
) -> None:
    twilio = door(inbox=private_inbox, spool_max_bytes=0)
    private_redis.stop()
    began = time.monotonic()
    answer = twilio.post(body)
    assert time.monotonic() - began < 1.0
    assert told(answer) == (503, "unavailable")


def test_with_a_redis_that_hangs_the_answer_comes_within_a_second(
    door: Callable[..., Any],
    private_inbox: Inbox,
    private_redis: EmbeddedRedis,
    body: str,
    log: list[Any],
) -> None:
    twilio = door(inbox=private_inbox, spool_max_bytes=0)
    os.kill(private_redis.pid, signal.SIGSTOP)
    began = time.monotonic()
    answer = twilio.post(body)
    assert time.monotonic() - began < 1.0
    assert told(answer) == (503, "unavailable")
    began_to_spool, refused = log
    assert (began_to_spool["event"], began_to_spool["cause"]) == ("spooling_began", "TimeoutError")
    assert refused["reason"] == "unavailable"


def test_a_failure_of_ours_is_logged_with_its_traceback_and_told_without_details(
    twilio: Any, body: str, log: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a detail")

    monkeypatch.setattr("ingest.callbacks.check", fail)
    answer = twilio.post(body)
    assert told(answer) == (500, "error")
    assert "detail" not in answer.text
    [line] = log
    assert (line["event"], line["exc_info"]) == ("request_failed", True)


def test_a_refusal_is_logged_in_one_line_that_says_why(
    twilio: Any, body: str, log: list[Any]
) -> None:
    twilio.signing(token="a-wrong-token").post(body)
    assert log == [
        {
            "event": "callback_refused",
            "log_level": "warning",
            "reason": "signature-mismatch",
            "status": 403,
            "judged_url": "https://rollcall.example/callbacks",
        }
    ]


def test_a_loss_is_logged_with_what_it_was_of(twilio: Any, log: list[Any]) -> None:
    sid = "RM" + "1" * 32
    twilio.post(f"StatusCallbackEvent=room-ended&RoomSid={sid}&Timestamp=noon&AccountSid=x")
    (line,) = log
    assert (line["reason"], line["StatusCallbackEvent"], line["RoomSid"], line["Timestamp"]) == (
        "malformed",
        "room-ended",
        sid,
        "noon",
    )


def test_without_a_signature_the_body_is_not_waited_for(client: FlaskClient) -> None:
    class Slow(io.RawIOBase):
        def readinto(self, _buffer: Any) -> int:
            raise AssertionError("the body was read")

    answer = client.post(
        "/callbacks",
        content_type=FORM,
        environ_overrides={"wsgi.input": Slow(), "CONTENT_LENGTH": "10"},
    )
    assert told(answer) == (403, "signature-missing")


def test_no_answer_and_no_line_holds_a_token_a_signature_or_an_identity(
    twilio: Any, log: list[Any]
) -> None:
    form = "ParticipantIdentity=Zoe-Secret&AccountSid=x&StatusCallbackEvent=participant-connected"
    signature = twilio.signed(twilio.url, {})["X-Twilio-Signature"]
    forged = {"X-Twilio-Signature": signature}
    answers = [
        twilio.post(form),
        twilio.get(form),
        twilio.post(f"{form}&{form}"),
        twilio.client.post("/callbacks", data=form, content_type=FORM, headers=forged),
    ]
    for said in [*(answer.text + str(answer.headers) for answer in answers), *map(str, log)]:
        for secret in (twilio.token, signature, "Zoe-Secret"):
            assert secret not in said


TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)
HEADERS = (
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "HTTP_HOST",
    "HTTP_I_TWILIO_IDEMPOTENCY_TOKEN",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_TWILIO_SIGNATURE",
)

anything = hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300
)


@anything
@given(st.sampled_from(["POST", "GET"]), st.binary(), TEXT, st.data())
def test_no_request_makes_the_door_fail(
    door: Callable[..., Any], method: str, body: bytes, query: str, data: st.DataObject
) -> None:
    headers = data.draw(st.dictionaries(st.sampled_from(HEADERS), TEXT))
    for twilio in (door(), door(public_url=None, trusted_proxies=1)):
        answer = twilio.client.open(
            "/callbacks",
            method=method,
            data=body,
            environ_overrides={"QUERY_STRING": query, **headers},
        )
        assert told(answer)[0] in {400, 403, 413}


@anything
@given(st.binary() | TEXT.map(lambda text: f"AccountSid={text}".encode()), TEXT)
def test_no_signed_request_makes_the_door_fail(twilio: Any, body: bytes, token: str) -> None:
    signed = twilio.signing(headers={"I-Twilio-Idempotency-Token": token})
    assert told(signed.post(body)) in {
        (400, "malformed"),
        (400, "repeated-parameter"),
        (400, "wrong-encoding"),
    }
