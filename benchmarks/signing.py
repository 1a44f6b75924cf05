"""Signing: from callbacks to requests such as Twilio's proxy sends.

A signature costs as much as a deposit; made while measuring, it would be measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, urlencode

from twilio.request_validator import RequestValidator

from benchmarks.shots import Mark, Shot

TOKEN = "a-token-of-the-benchmarks"  # noqa: S105  # it opens nothing
PUBLIC_URL = "https://rollcall.example"

_HEAD = (
    "POST /callbacks HTTP/1.1\r\n"
    "Host: rollcall.example\r\n"
    "User-Agent: TwilioProxy/1.1\r\n"
    "Accept: */*\r\n"
    "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
    "Content-Length: {length}\r\n"
    "X-Twilio-Signature: {signature}\r\n"
    "I-Twilio-Idempotency-Token: {token}\r\n"
    "\r\n"
    "{body}"
)


def signed(callbacks: Iterable[Mapping[str, str]]) -> Iterator[Shot]:
    """Make a request of each callback, signed."""
    validator = RequestValidator(TOKEN)
    for number, params in enumerate(callbacks):
        body = urlencode(params, quote_via=quote)
        request = _HEAD.format(
            length=len(body),
            signature=validator.compute_signature(f"{PUBLIC_URL}/callbacks", dict(params)),
            token=f"00000000-0000-4000-8000-{number:012x}",
            body=body,
        )
        yield Shot(request.encode(), _mark_of(params))


def _mark_of(params: Mapping[str, str]) -> Mark:
    """Tell by what the event of a callback is known: its subject, and when it happened."""
    subjects = (params.get(name) for name in ("TrackSid", "ParticipantSid", "RoomSid"))
    return Mark(next(filter(None, subjects), ""), params["Timestamp"])
