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
from ingest.callbacks import MAX_BODY_BYTES
from ingest.inbox import Inbox

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
def test_a_body_of_another_type_is_malformed(twilio: Any, body: str, content_type: str) -> None:
    answer = twilio.post(body, content_type=content_type)
    assert told(answer) == (400, "malformed")
    assert answer.json["fields"] == {"body": [f"Not {FORM}."]}


@pytest.mark.parametrize("garbage", ["RoomName=%ff", "RoomName=%", "%zz=1"])
def test_what_is_no_form_is_malformed(twilio: Any, garbage: str) -> None:
    posted = twilio.post(garbage)
    assert told(posted) == (400, "malformed")
    assert posted.json["fields"].keys() == {"body"}
    got = twilio.get(garbage)
    assert told(got) == (400, "malformed")
    assert got.json["fields"].keys() == {"query"}


def test_an_empty_form_is_malformed(twilio: Any) -> None:
    answer = twilio.post("")
    assert told(answer) == (400, "malformed")
    assert answer.json["fields"].keys() == {"StatusCallbackEvent", "AccountSid"}


def test_without_redis_the_answer_is_unavailable_at_once(
    door: Callable[..., Any], private_inbox: Inbox, private_redis: EmbeddedRedis, body: str
) -> None:
    twilio = door(inbox=private_inbox)
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
    twilio = door(inbox=private_inbox)
    os.kill(private_redis.pid, signal.SIGSTOP)
    began = time.monotonic()
    answer = twilio.post(body)
    assert time.monotonic() - began < 1.0
    assert told(answer) == (503, "unavailable")
    [line] = log
    assert (line["reason"], line["cause"]) == ("unavailable", "TimeoutError")


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
    assert told(signed.post(body)) in {(400, "malformed"), (400, "repeated-parameter")}
