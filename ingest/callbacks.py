"""`/callbacks`: verify, check, deposit, answer 204.

Knows HTTP and what a status callback must be; what one means is for the workers. A slow answer or
a 5xx is normally not retried by Twilio, so nothing here waits for anything but the deposit; and it
runs on an event loop, so whatever waits must let the others have it (`ingest/waiting.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Request, Response, request
from werkzeug.http import parse_options_header
from werkzeug.routing import Rule

from ingest.deposits import Deposits
from ingest.form import Form, read_form
from ingest.signature import HEADER, verify
from schemas.callbacks import EVENT
from schemas.errors import (
    AccountNotAllowedError,
    NotFoundError,
    RefusedError,
    RepeatedParameterError,
    SignatureMismatchError,
    SignatureMissingError,
    TooLargeError,
    TooManyParametersError,
    TooOldError,
    ValueTooLongError,
    WrongContentTypeError,
    WrongEncodingError,
)
from schemas.parsing import parse_timestamp
from schemas.reading import check
from schemas.settings import Settings, account_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PATH = "/callbacks"
# The largest recorded body has 1 KiB. Names and identities have at most 128 characters each, so
# even one that is all escapes stays below 10 KiB.
MAX_BODY_BYTES = 64 * 1024
# Those recorded have at most 18 parameters, of at most 55 bytes each.
MAX_PARAMETERS = 100
MAX_VALUE_BYTES = 16 * 1024
# Somebody who need not sign anything could have us sort many thousands.
_MAX_PIECES = 1000

_FORM = "application/x-www-form-urlencoded"
_TOKEN_HEADER = "I-Twilio-Idempotency-Token"  # noqa: S105  # the name of a header
# A token is a UUID of 36 characters. The signature does not cover it: anybody on the way may have
# written something longer.
_TOKEN_CHARACTERS = 128
# Which callback it was that could not be taken, and nobody's name.
_TOLD_OF_A_LOSS = (EVENT, "RoomSid", "ParticipantSid", "TrackSid", "Timestamp")

_log = structlog.get_logger(__name__)


class _Empty(Response):
    """An answer without a body, which has no type either."""

    default_mimetype = None

    def get_wsgi_response(
        self, _environ: WSGIEnvironment
    ) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Give it as it is: Werkzeug would look for a length, a location and what to close."""
        return (), self.status, self.headers.to_wsgi_list()


@dataclass(frozen=True, slots=True)
class CallbackDoor:
    """The view of `/callbacks`, with what it needs."""

    settings: Settings
    deposits: Deposits
    # Seconds since 1970.
    clock: Callable[[], float] = time.time

    def receive(self) -> Response:
        """Take one callback.

        Raises:
            RefusedError: it is not taken, and why. Refusals come in the order of the contract.
        """
        # Asked for once: each look through Flask's proxy costs as much as it finds.
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # Werkzeug's documented way
        # Werkzeug's router takes `//callbacks` for `/callbacks`, but it is not the URL signed.
        if asked.environ["PATH_INFO"] != PATH:
            raise NotFoundError
        form = self._verified(asked)
        token = asked.headers.get(_TOKEN_HEADER, "")[:_TOKEN_CHARACTERS]
        try:
            params = _checked(asked, form)
            check_age(params, self.settings.max_age_seconds, self.clock())
            receipt = self.deposits.deposit(params, token)
        except RefusedError as error:
            # Twilio signed it and will not send it again: what it was is at least in the log.
            told = dict(form.pairs)
            error.context = {name: told[name] for name in _TOLD_OF_A_LOSS if name in told}
            error.context["idempotency_token"] = token
            raise
        _log.info(
            "callback_accepted",
            event_name=params[EVENT],
            room_sid=receipt.room_sid,
            shard=receipt.shard,
            entry=receipt.entry,
            spooled=receipt.spooled,
        )
        return _Empty(status=204)

    def _verified(self, asked: Request) -> Form:
        """Read the parameters, and check that Twilio signed them for an account of ours."""
        signature = asked.headers.get(HEADER)
        if (asked.content_length or 0) > MAX_BODY_BYTES:
            raise TooLargeError
        if not signature:
            # Before the body: under WSGI alone, whoever sends it drop by drop holds a thread.
            raise SignatureMissingError
        # The body is read also where none is wanted: this is what bounds it.
        body = _body(asked)
        posted = asked.method == "POST"
        raw = body if posted else asked.query_string
        if max(raw.count(b"&"), asked.query_string.count(b"&")) > _MAX_PIECES:
            raise TooLargeError
        form = read_form(raw)
        # The parameters of a GET are signed as part of its URL. A query in the URL of a POST is
        # signed too, but was set by whoever registered the URL and holds no parameter.
        signed = form.values() if posted else {}
        url = self._signed_url(asked)
        accounts = {account_of(value) for name, value in form.pairs if name == "AccountSid"}
        try:
            # Nothing but which of our tokens may judge is taken from what is not verified yet, and
            # the signature covers it: who names another account needs a token of that one.
            verify(url, signed, signature, self.settings.tokens_for(accounts))
        except SignatureMismatchError as error:
            # The usual cause is a URL that differs; a query or a password in it is not told.
            error.context = {"judged_url": _without_secrets(url)}
            raise
        self._check_accounts(accounts)
        return form

    def _signed_url(self, asked: Request) -> str:
        root = self.settings.public_url or f"{asked.scheme}://{asked.host}"
        # As it was on the wire: encoded again, it would not be what Twilio signed. Bytes that are
        # no text cannot have been signed, and the verification finds that.
        query = asked.query_string.decode("utf-8", "surrogateescape")
        return f"{root}{PATH}?{query}" if query else f"{root}{PATH}"

    def _check_accounts(self, accounts: Collection[str]) -> None:
        allowed = set(map(account_of, self.settings.account_sids))
        if allowed and not allowed.issuperset(accounts):
            raise AccountNotAllowedError


def _without_secrets(url: str) -> str:
    scheme, _, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _body(asked: Request) -> bytes:
    """Read the body, at most one byte more than is allowed: a chunked one tells no length."""
    sent = asked.environ["wsgi.input"]
    if isinstance(sent, BytesIO) and asked.environ.get("wsgi.input_terminated"):
        # The gateway has it in memory already. Werkzeug, on its guard against one that never ends,
        # would have a buffer of 64 KiB made for it.
        body = sent.read(MAX_BODY_BYTES + 1)
    else:
        body = asked.get_data(cache=False)
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError
    return body


def _checked(asked: Request, form: Form) -> dict[str, str]:
    """Check the parameters themselves, once it is known that they are Twilio's."""
    repeated = form.repeated()
    if repeated:
        raise RepeatedParameterError(repeated)
    if len(form.pairs) > MAX_PARAMETERS:
        raise TooManyParametersError
    too_long = form.longer_than(MAX_VALUE_BYTES)
    if too_long:
        raise ValueTooLongError(too_long)
    if asked.method == "POST" and _media_type(asked.content_type) != _FORM:
        raise WrongContentTypeError
    if form.fault:
        raise WrongEncodingError(f"{WrongEncodingError.__doc__} {form.fault}")
    params = dict(form.pairs)
    check(params)
    return params


# Twilio's is always the same, and Werkzeug takes it apart anew for each request.
@lru_cache(maxsize=16)
def _media_type(header: str | None) -> str:
    return parse_options_header(header)[0].lower()


def check_age(params: Mapping[str, str], max_age_seconds: int, now: float) -> None:
    """Check that a callback is not older than is wanted, where its time can be read.

    Args:
        params: of the callback.
        max_age_seconds: 0 where any age will do.
        now: seconds since 1970.

    Raises:
        TooOldError: it is older.
    """
    # An event that is not known need not have a time.
    with suppress(KeyError, ValueError):
        stamped = parse_timestamp(params["Timestamp"]) / 1_000_000
        if max_age_seconds and now - stamped > max_age_seconds:
            raise TooOldError


def register_callbacks(app: Flask, door: CallbackDoor) -> None:
    """Add the route, and the bound on its bodies."""
    # Flask refuses what a Content-Length announces beyond this, without reading it, but cuts a
    # chunked body here in silence. One byte more lets the view see the difference.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    rule = Rule(PATH, endpoint="callbacks", methods=("POST", "GET"))
    # Werkzeug adds HEAD to GET; Twilio sends no such request, and it must deposit nothing.
    rule.methods = {"POST", "GET"}
    app.url_map.add(rule)
    app.endpoint("callbacks")(door.receive)
