"""The signature: the published vectors, and that nothing unjudgeable passes or raises."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from ingest.signature import verify
from schemas.errors import SignatureMismatchError, SignatureMissingError

# tests/unit/test_request_validator.py of github:twilio/twilio-python
TOKEN = "12345"
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
PARAMS = {
    "CallSid": ["CA1234567890ABCDE"],
    "Digits": ["1234"],
    "From": ["+14158675309"],
    "To": ["+18005551212"],
    "Caller": ["+14158675309"],
}
SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def compute(url: str, params: dict[str, str]) -> str:
    signature: str = RequestValidator(TOKEN).compute_signature(url, params)
    return signature


@pytest.mark.parametrize(
    ("url", "signature"),
    [
        (URL, SIGNATURE),
        (URL.replace(".com", ".com:443"), SIGNATURE),
        (URL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (URL.replace(".com", ".com:443"), "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (URL.replace("https", "http"), "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        (URL.replace("https", "http").replace(".com", ".com:80"), "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        (
            URL.replace("https", "http").replace(".com", ".com:1234"),
            "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=",
        ),
    ],
)
def test_the_published_vectors_fit_with_the_port_and_without(url: str, signature: str) -> None:
    verify(url, PARAMS, signature, [TOKEN])


def test_repeated_values_are_signed_once_and_sorted() -> None:
    params = {"Sid": ["CA123"], "SidAccount": ["AC123"], "Digits": ["5678", "1234", "1234"]}
    verify(URL, params, "IK+Dwps556ElfBT0I3Rgjkr1wJU=", [TOKEN])
    verify(URL, MultiDict(params), "IK+Dwps556ElfBT0I3Rgjkr1wJU=", [TOKEN])


def test_a_url_that_holds_the_hash_of_its_body_is_signed_without_parameters() -> None:
    digest = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
    verify(f"{URL}&bodySHA256={digest}", {}, "a9nBmqA0ju/hNViExpshrM61xv4=", [TOKEN])


def test_any_of_several_tokens_fits_wherever_it_stands() -> None:
    verify(URL, PARAMS, SIGNATURE, [TOKEN, "new"])
    verify(URL, PARAMS, SIGNATURE, ["new", TOKEN])


@pytest.mark.parametrize(
    ("signature", "tried"),
    [
        (compute("https://a/x", {}), 2),
        (compute("https://a:443/x", {}), 4),
        ("none", 4),
        ("none that is as long as one", 4),
    ],
)
def test_what_fits_is_answered_at_once_and_for_what_does_not_all_is_tried_in_order(
    monkeypatch: pytest.MonkeyPatch, signature: str, tried: int
) -> None:
    asked = []
    compute_signature = RequestValidator.compute_signature

    def spy(validator: Any, url: str, params: Any) -> Any:
        asked.append((url, validator.token.decode()))
        return compute_signature(validator, url, params)

    monkeypatch.setattr(RequestValidator, "compute_signature", spy)
    with suppress(SignatureMismatchError):
        verify("https://a/x", {}, signature, ["new", TOKEN])
    # The URL as it was registered comes first, with each token.
    forms = ("https://a/x", "https://a:443/x")
    everything = [(form, token) for form in forms for token in ("new", TOKEN)]
    assert asked == everything[:tried]


@pytest.mark.parametrize("signature", [None, ""])
def test_a_missing_signature_is_said_to_be_missing(signature: str | None) -> None:
    with pytest.raises(SignatureMissingError):
        verify(URL, PARAMS, signature, [TOKEN])


@pytest.mark.parametrize("signature", ["x", SIGNATURE[:-1], SIGNATURE + " ", "é" * 28, "\udcff"])
def test_any_other_signature_is_a_mismatch(signature: str) -> None:
    with pytest.raises(SignatureMismatchError):
        verify(URL, PARAMS, signature, [TOKEN])


def test_without_tokens_nothing_fits() -> None:
    with pytest.raises(SignatureMismatchError):
        verify(URL, PARAMS, SIGNATURE, [])


@pytest.mark.parametrize(
    "url",
    [
        "https://a:port/",
        "https://a:99999/",
        "http://[::1",
        "//",
        "",
        "https://a/\udcff",
        "\0",
        "https://a/?\ud800",
    ],
)
def test_an_odd_url_is_a_mismatch_and_no_failure(url: str) -> None:
    with pytest.raises(SignatureMismatchError):
        verify(url, PARAMS, SIGNATURE, [TOKEN])


@pytest.mark.parametrize(
    "url", ["https://[::1]:8443/x", "https://u:p@host:8443/x", "https://a/x#f"]
)
def test_an_odd_url_fits_when_it_was_signed_as_it_is(url: str) -> None:
    signature = RequestValidator(TOKEN).compute_signature(url, {})
    verify(url, {}, signature, [TOKEN])


@pytest.mark.parametrize(
    ("given", "signed"),
    [
        ("https://a/x?to=a@b:c", "https://a/x?to=a%40b%3Ac"),
        ("https://a/x?q=it%27s+so", "https://a/x?q=it's%20so"),
        ("https://a:443/x?q=it%27s", "https://a/x?q=it's"),
        ("https://a/x?q=it%27s", "https://a:443/x?q=it's"),
        ("https://a/x?q=é&&b", "https://a/x?q=%C3%A9&b="),
        ("https://a/x?b=1&a=1&b=2", "https://a/x?b=1&b=2&a=1"),
        ("https://a/x?q=%2f%7e%21%2a%28%29", "https://a/x?q=%2F~!*()"),
    ],
)
def test_a_query_that_was_signed_as_node_writes_it_fits(given: str, signed: str) -> None:
    verify(given, {"A": ["1"]}, compute(signed, {"A": "1"}), [TOKEN])


@pytest.mark.parametrize(
    ("given", "signed"),
    [
        # The other way round it would be anybody's guess what was signed.
        ("https://a/x?to=a%40b", "https://a/x?to=a@b"),
        # To mend what no encoder wrote would make two queries one.
        ("https://a/x?q=%ff", "https://a/x?q=%EF%BF%BD"),
        ("https://a/x?q=%", "https://a/x?q=%25"),
        ("https://a/x?q=\udcff", "https://a/x?q=%EF%BF%BD"),
        ("https://a/x?q=1\t2", "https://a/x?q=12"),
        ("https://a/x?q=1\n2", "https://a/x?q=12"),
        (" https://a/x", "https://a/x"),
        # What the validator makes of the port of these.
        ("https://u:p@host:8443/x", "https://u/x"),
        ("https://[::1]:8443/x", "https://[/x"),
    ],
)
def test_what_is_merely_like_what_was_signed_does_not_fit(given: str, signed: str) -> None:
    with pytest.raises(SignatureMismatchError):
        verify(given, {}, compute(signed, {}), [TOKEN])


@pytest.mark.parametrize(
    ("given", "signed"),
    [
        ("https://u:p@host:8443/x", "https://u:p@host/x"),
        ("https://u:p@host/x", "https://u:p@host:443/x"),
        ("https://[::1]:8443/x", "https://[::1]/x"),
        ("http://[::1]/x", "http://[::1]:80/x"),
    ],
)
def test_a_port_is_found_behind_a_password_and_an_ipv6_address(given: str, signed: str) -> None:
    verify(given, {}, compute(signed, {}), [TOKEN])


@pytest.mark.parametrize("value", [[None], [1], ["\ud800"]])
def test_a_value_that_is_no_text_is_a_mismatch_and_no_failure(value: list[str]) -> None:
    with pytest.raises(SignatureMismatchError):
        verify(URL, {"A": value}, SIGNATURE, [TOKEN])


@given(st.text(), st.dictionaries(st.text(), st.lists(st.text(), min_size=1)), st.text(), st.text())
def test_what_was_not_signed_never_fits_and_never_fails(
    url: str, params: dict[str, list[str]], signature: str, token: str
) -> None:
    with pytest.raises((SignatureMismatchError, SignatureMissingError)):
        verify(url, params, signature, [token])


# An identity that its owner chose with care, and what Twilio signed for a callback about it.
CHOSEN = "&AccountSid=AC" + "1" * 32 + "&StatusCallbackEvent=room-ended"
CAPTURED = {"AccountSid": "AC" + "0" * 32, "ParticipantIdentity": CHOSEN}


@pytest.mark.parametrize("form", ["AccountSidAC{0}ParticipantIdentity{1}", "A{0}"])
def test_what_was_signed_with_a_post_is_not_taken_as_a_query(form: str) -> None:
    url = "https://rollcall.example/callbacks?tenant=5"
    signature = compute(url, CAPTURED)
    forged = url + form.format("0" * 32, CHOSEN)
    if form.startswith("AccountSid"):
        assert RequestValidator(TOKEN).validate(forged, {}, signature)
    with pytest.raises(SignatureMismatchError):
        verify(forged, {}, signature, [TOKEN])


@pytest.mark.parametrize("name", ["RoomName", "ParticipantIdentity", "TrackName"])
def test_nobody_hides_by_a_name_that_looks_like_what_is_signed(name: str) -> None:
    url = f"https://rollcall.example/callbacks?{name}=AccountSidAC{'0' * 32}&RoomSid=RM1"
    verify(url, {}, compute(url, {}), [TOKEN])
