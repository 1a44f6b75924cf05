"""Whether Twilio signed a request. Pure: knows neither Flask nor settings nor a clock.

https://www.twilio.com/docs/usage/webhooks/webhooks-security: the URL as it was configured, then
every name and value of the form by name, HMAC-SHA1 with the account's auth token, base64. What
cannot be judged is a mismatch: nothing here raises anything else.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from urllib.parse import ParseResult, quote, urlparse

from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from ingest.form import read_form
from schemas.errors import SignatureMismatchError, SignatureMissingError

HEADER = "X-Twilio-Signature"

# No request line can hold these. The library that takes URLs apart drops some of them in silence,
# and two URLs that differ must not become one.
_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f]")
_PORT = re.compile(r":\d*$", re.ASCII)
_FORM_BEGINS = re.compile("AccountSidAC[0-9a-fA-F]{32}")
_CHOSEN_TEXTS = {"RoomName", "ParticipantIdentity", "TrackName"}
# What JavaScript's encodeURIComponent leaves as it is, beside what `quote` does.
_LEFT_BY_NODE = "!*'()"


def verify(
    url: str,
    params: MultiDict[str, str] | Mapping[str, list[str]],
    signature: str | None,
    tokens: Sequence[str],
) -> None:
    """Check that one of `tokens` signed this URL and these parameters.

    The header X-Twilio-Webhooks-Signature-Settings, which may name another algorithm and a shared
    key, is not heard: a request must not choose how it is judged, and Rollcall holds no such key.

    Args:
        url: in full, with the query as it came.
        params: every value of each name of the form; empty for a GET, whose URL holds them all.
        signature: the header's value.
        tokens: the auth tokens. Several while one is replaced, since nothing says which one signed.

    Raises:
        SignatureMissingError: there is no signature.
        SignatureMismatchError: it fits no token.
    """
    if not signature:
        raise SignatureMissingError
    if _holds_a_form(url):
        raise SignatureMismatchError
    given = signature.encode(errors="replace")
    # Each comparison takes as long as any other: the validator's own answers early when the lengths
    # differ. Whoever has signed is told so with the first that fits, and learns that it fits; for
    # whoever has not, every token and form of the URL is tried.
    if not any(
        hmac.compare_digest(given, expected)
        for expected in _signatures(_signed_texts(url, params), tokens)
    ):
        raise SignatureMismatchError


def _holds_a_form(url: str) -> bool:
    """Whether what was signed with a POST stands in a query, to be signed once more.

    Twilio signs the URL and the form in one piece, and not where the one ends. Where the registered
    URL has a query, the form of a captured POST could follow it there, and an identity that its
    owner chose with care would be read as parameters. The form begins with the account, so that
    would stand in the query's own last value, and not where it may: in a text that people choose.
    """
    query = url.partition("?")[2]
    return bool(query) and any(
        _FORM_BEGINS.search(name) or (name not in _CHOSEN_TEXTS and _FORM_BEGINS.search(value))
        for name, value in read_form(query.encode(errors="replace")).pairs
    )


def _signed_texts(url: str, params: MultiDict[str, str] | Mapping[str, list[str]]) -> list[str]:
    """What Twilio may have signed: each form of the URL, then the parameters.

    The validator would sort them again for each form and token, and raise on a value not in a list.
    """
    # A value that is not text.
    with suppress(TypeError):
        every = params.lists() if isinstance(params, MultiDict) else params.items()
        pairs = {(name, value) for name, values in every for value in values}
        told = "".join(name + value for name, value in sorted(pairs))
        return [form + told for form in _forms(url)]
    return []


def _signatures(texts: Sequence[str], tokens: Sequence[str]) -> Iterator[bytes]:
    """What each token makes of each text, computed when it is asked for."""
    # Text that UTF-8 cannot encode.
    with suppress(ValueError):
        validators = [_validator(token) for token in tokens]
        for text in texts:
            for one in validators:
                yield one.compute_signature(text, {}).encode()


# A POST is nearly always to the one URL that was registered.
@lru_cache(maxsize=16)
def _forms(url: str) -> tuple[str, ...]:
    """The URL as it is, with its port and without; and each with its query written anew.

    Twilio signs either: "sig generation on back end is inconsistent", says the validator. It takes
    a port off at the first colon, which is one of the password or of the address where there is
    one; here that port is taken off as Twilio's other libraries do.
    """
    if _NOT_IN_A_URL.search(url):
        return (url,)
    forms = [url]
    # A host or port that cannot be read. The URL itself can still be judged.
    with suppress(ValueError):
        parts = urlparse(url)
        forms += [_with_port(parts), _without_port(parts)]
    # In their order, and each once: what was registered is nearly always what was signed.
    return tuple(dict.fromkeys([*forms, *map(_written_anew, forms)]))


def _with_port(parts: ParseResult) -> str:
    if parts.port:
        return parts.geturl()
    port = 443 if parts.scheme == "https" else 80
    return parts._replace(netloc=f"{parts.netloc}:{port}").geturl()


def _without_port(parts: ParseResult) -> str:
    if not parts.port:
        return parts.geturl()
    return parts._replace(netloc=_PORT.sub("", parts.netloc)).geturl()


def _written_anew(url: str) -> str:
    """The URL with its query decoded and encoded again, as Twilio's Node library also takes it.

    `withLegacyQuerystring` in src/webhooks/webhooks.ts of github:twilio/twilio-node, since pull
    request 1061: `stringify(parse(query))` of Node's `querystring`, which puts the values of a name
    side by side. (It also puts names that are whole numbers first; Twilio sends none.) A query that
    no encoder wrote is left alone: were its faults mended, two queries could pass for one.
    """
    place, _, query = url.partition("?")
    if not query or "#" in url:
        return url
    form = read_form(query.encode("utf-8", "surrogatepass"))
    if form.fault:
        return url
    pieces = [
        f"{quote(name, safe=_LEFT_BY_NODE)}={quote(value, safe=_LEFT_BY_NODE)}"
        for name, values in form.values().items()
        for value in values
    ]
    return f"{place}?{'&'.join(pieces)}"


@lru_cache(maxsize=16)
def _validator(token: str) -> RequestValidator:
    return RequestValidator(token)
