"""Hostile requests against the Procfile's web process, over loopback: `make fuzz`.

Every request is made from the seed and its number alone, so any one of them can be made again:
`make fuzz SEED=7 ONLY=4711` shows that one. Not collected as a test: it plays for
minutes. tests/ingest/test_door_fuzz.py plays a short one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import sys
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus

import psutil
from procfile import PUBLIC_URL, healthy, processes, wait_for
from redis import Redis
from twilio.request_validator import RequestValidator

from console.embedded import EmbeddedRedis, free_port
from schemas.inbox import decode
from schemas.keys import Keyspace

TOKEN = "a-token-of-the-fuzzer"
FORM = "application/x-www-form-urlencoded"
LONG = 200_000
# A hang is told from an answer that is merely slow.
_SLOW_SECONDS = 1.0
_HANG_SECONDS = 5.0
# An answer takes some milliseconds.
_PATIENCE_SECONDS = 0.1
_REDIS_SHARDS = 8
# What malloc and 128 threads may add while they warm up, and not once they have.
_FLAT_BYTES = 32 * 1024 * 1024
# None of these words is in a line of a door that is well.
_ALARMS = (b"request_failed", b"panicked", b"Traceback", TOKEN.encode())

Pairs = list[tuple[str, str]]


class Expects(Enum):
    """What must come of a request."""

    TAKEN = auto()  # 204: it is Twilio's
    REFUSED = auto()  # 4xx
    NOT_TAKEN = auto()  # anything but 204 and 5xx
    ANSWERED = auto()  # signed, and as good as what was signed: anything but 5xx


@dataclass(frozen=True, slots=True)
class Attack:
    """Bytes for one connection, and what must come of them."""

    kind: str
    wire: bytes
    expects: Expects
    # How many answers HTTP owes; none where the framing itself is broken. The sender then waits a
    # little and closes its half, and the door must close the other, with or without an answer.
    answers: int = 1
    # Where the door may hang up on what it does not care to read.
    may_close: bool = False


class Plan(NamedTuple):
    seed: int
    requests: int
    connections: int


class Answer(NamedTuple):
    status: int
    reason: str
    closes: bool


@dataclass
class Seen:
    """What came of it all."""

    plan: Plan
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    # The slowest of each kind: seconds, number of the request.
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)
    resident: dict[int, int] = field(default_factory=dict)
    # The numbers of those answered 204, and of those that lie in the inboxes.
    taken: set[int] = field(default_factory=set)
    deposited: set[int] = field(default_factory=set)
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


# --- The requests


def attack(seed: int, number: int) -> Attack:
    """Make request `number` of this seed."""
    rng = random.Random(f"{seed}:{number}")
    made = rng.choices(_MAKERS, _WEIGHTS)[0]
    return made(rng, number)


def _request(
    method: bytes, target: bytes, headers: Iterator[bytes] | list[bytes] = (), body: bytes = b""
) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: 127.0.0.1", *headers]
    if body or method == b"POST":
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def _chunked(rng: random.Random, body: bytes) -> bytes:
    chunks = []
    while body:
        size = rng.randint(1, max(1, len(body)))
        chunks.append(b"%x\r\n%s\r\n" % (size, body[:size]))
        body = body[size:]
    return b"".join([*chunks, b"0\r\n\r\n"])


def _header(name: str, value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode("latin-1", "replace")
    return name.encode() + b": " + raw


_FORM_HEADER = _header("Content-Type", FORM)


def _guess(rng: random.Random) -> bytes:
    """A signature of the right form that nobody made."""
    return _header("X-Twilio-Signature", b64encode(rng.randbytes(20)))


def _post(
    rng: random.Random, body: bytes, content_type: str | bytes = FORM, *, may_close: bool = False
) -> tuple[bytes, bool]:
    headers = [_header("Content-Type", content_type)]
    if rng.random() < 0.7:
        # The door reads the body of whoever brings a signature.
        headers.append(_guess(rng))
    return _request(b"POST", b"/callbacks", headers, body), may_close


def _refused(kind: str, make: Callable[[random.Random], tuple[bytes, bool]]) -> _Maker:
    def made(rng: random.Random, _number: int) -> Attack:
        wire, may_close = make(rng)
        return Attack(kind, wire, Expects.REFUSED, may_close=may_close)

    return made


def _random_body(rng: random.Random) -> tuple[bytes, bool]:
    return _post(rng, rng.randbytes(rng.randint(0, 4096)))


def _percents(rng: random.Random) -> tuple[bytes, bool]:
    pieces = (b"%", b"%2", b"%zz", b"%00", b"%ff", b"%C3", b"%u20ac", b"=", b"&", b"+", b"a", b"%%")
    return _post(rng, b"".join(rng.choices(pieces, k=rng.randint(1, 400))))


def _many_parameters(rng: random.Random) -> tuple[bytes, bool]:
    piece = rng.choice((b"a=1&", b"&", b"=&", b"a&", b"AccountSid=AC%032d&" % 1, b"%61=%62&"))
    return _post(rng, piece * rng.randint(100, 65_000 // len(piece)))


def _distinct_parameters(rng: random.Random) -> tuple[bytes, bool]:
    return _post(rng, b"&".join(b"p%d=%d" % (n, n) for n in range(rng.randint(101, 5000))))


def _huge_value(rng: random.Random) -> tuple[bytes, bool]:
    size = rng.choice((16_385, 60_000, 65_528, 65_537, 100_000, 300_000))
    return _post(rng, b"RoomSid=" + rng.choice((b"x", b"%")) * size, may_close=size > 65_000)


def _content_type(rng: random.Random) -> tuple[bytes, bool]:
    types = (
        "text/plain",
        "",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/x-www-form-urlencoded; charset=\x80",
        "multipart/form-data",
        "a/b/c;;;==;",
        "application/" + "x" * 2000,
        'x; a="' + "\\" * 999,
    )
    return _post(rng, _body(_callback(0, rng)), rng.choice(types))


def _json(rng: random.Random) -> tuple[bytes, bool]:
    bodies = (
        json.dumps(dict(_callback(0, rng))).encode(),
        b"[" * 20_000,
        b'{"a":' * 5_000,
        b"1e999",
        b"null",
        b'"\\ud800"',
    )
    return _post(rng, rng.choice(bodies), "application/json")


def _multipart(rng: random.Random) -> tuple[bytes, bool]:
    edge = rng.choice((b"x", b"-" * 70, b"", rng.randbytes(8).hex().encode()))
    part = b'--%s\r\nContent-Disposition: form-data; name="RoomSid"%s\r\n\r\nRM\r\n' % (
        edge,
        rng.choice((b"", b'; filename="../../etc/passwd"', b"; " * 200)),
    )
    body = part * rng.randint(1, 200) + rng.choice((b"", b"--%s--" % edge))
    return _post(rng, body[:60_000], b"multipart/form-data; boundary=" + edge)


def _signatures(rng: random.Random) -> tuple[bytes, bool]:
    body = _body(_callback(0, rng))
    tricks = (
        [_guess(rng), _guess(rng)],
        [_guess(rng)] * rng.randint(3, 60),
        [_header("X-Twilio-Signature", "")],
        [_header("X-Twilio-Signature", "," * 5000)],
        [_header("X-Twilio-Signature", "A" * rng.randint(29, 60_000))],
        [_header("X-Twilio-Signature", bytes(rng.randrange(128, 256) for _ in range(28)))],
        [_header("X_Twilio_Signature", b64encode(rng.randbytes(20)))],
        [_guess(rng), _header("X-Twilio-Webhooks-Signature-Settings", "alg=none,kid=x")],
        [_guess(rng), _header("I-Twilio-Idempotency-Token", "x" * 60_000)],
        [_header("Authorization", "Basic " + "QTpC" * 500)],
    )
    return _request(b"POST", b"/callbacks", [_FORM_HEADER, *rng.choice(tricks)], body), False


def _huge_headers(rng: random.Random) -> tuple[bytes, bool]:
    tricks: tuple[list[bytes], ...] = (
        [_header(f"X-{n}", "x" * 500) for n in range(80)],
        [_header(f"X-{n}", "x") for n in range(rng.randint(101, 3000))],
        [_header("X-Large", "x" * rng.choice((60_000, 300_000, 500_000)))],
        [_header("X" * 60_000, "x")],
        [_header("Cookie", "a=b; " * 5000)],
    )
    return _request(b"POST", b"/callbacks", [_FORM_HEADER, *rng.choice(tricks)], b"a=1"), True


def _forwarding(rng: random.Random) -> tuple[bytes, bool]:
    values = (
        "evil.example",
        "rollcall.example",
        "a, b, c",
        "[::1",
        ":" * 99,
        "\xff",
        "",
        "x" * 5000,
    )
    names = ("Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "Forwarded")
    more = (
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
    )
    headers = [_header(name, rng.choice(values)) for name in rng.sample(names + more, 4)]
    return _request(b"POST", b"/callbacks", [*headers, _guess(rng), _FORM_HEADER], b"a=1"), True


_UNSIGNED_QUERIES = (
    b"?",
    b"?%",
    b"?a=%zz",
    b"?a=b#c",
    b"?" + b"a=1&" * 5000,
    b"?" + b"%00" * 999,
    b"?\xff",
)


def _queries(rng: random.Random) -> tuple[bytes, bool]:
    target = b"/callbacks" + rng.choice(_UNSIGNED_QUERIES)
    method = rng.choice((b"GET", b"POST"))
    return _request(method, target, [_guess(rng), _FORM_HEADER]), True


_PATHS = (
    b"//callbacks", b"/callbacks/", b"/Callbacks", b"/./callbacks", b"/x/../callbacks",
    b"/callbacks;a", b"/%63allbacks", b"/callbacks%00", b"/callbacks%2f", b"/callbacks%20",
    b"/callbacks\\", b"/callbacks#a", b"/../../etc/passwd", b"/..%2f..%2fetc/passwd",
    b"/%ff%fe", b"/" + b"a/" * 5000, b"/" + b"x" * 60_000, b"/" + b"x" * 70_000, b"*", b"/%",
    b"/console", b"/static/../ingest/app.py", b"/callbacks\xc3\xa9", b"",
    b"http://evil.example/callbacks", b"https://rollcall.example/video/callbacks",
    b"ftp://x/callbacks", b"http://a@b:c@d/callbacks", b"http://[::1/callbacks",
    b"http:///callbacks", b"callbacks", b"evil.example:443",
)  # fmt: skip


def _paths(rng: random.Random, _number: int) -> Attack:
    headers = [_FORM_HEADER, *([_guess(rng)] if rng.random() < 0.5 else [])]
    wire = _request(rng.choice((b"GET", b"POST")), rng.choice(_PATHS), headers, b"a=1")
    return Attack("path", wire, Expects.NOT_TAKEN, may_close=True)


_METHODS = (
    b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"PROPFIND", b"post", b"GETT", b"X" *
    5000, b"P\x00ST", b"HEAD", b"CONNECT", b"", b"PO ST", b"M-SEARCH", b"PRI",
)  # fmt: skip


def _methods(rng: random.Random, _number: int) -> Attack:
    method, target = rng.choice(_METHODS), rng.choice((b"/callbacks", b"/healthz", b"/readyz"))
    # What an answer to HEAD and CONNECT holds depends on the method, so these two end the
    # connection as well.
    wire = _request(method, target, [_FORM_HEADER, _guess(rng)], b"a=1")
    return Attack("method", wire, Expects.NOT_TAKEN, answers=0)


def _framing(rng: random.Random, _number: int) -> Attack:
    inner = _request(b"POST", b"/callbacks", [_FORM_HEADER, _guess(rng)], b"a=1")
    tricks: tuple[tuple[list[bytes], bytes], ...] = (
        ([b"Content-Length: 99999"], b"a=1"),
        ([b"Content-Length: -1"], b"a=1"),
        ([b"Content-Length: 1e3"], b"a=1"),
        ([b"Content-Length: 3, 4"], b"a=1"),
        ([b"Content-Length: 3", b"Content-Length: 5"], b"a=1"),
        ([b"Content-Length: 18446744073709551616"], b"a=1"),
        ([b"Content-Length: 0"], inner),
        ([b"Content-Length: 3", b"Transfer-Encoding: chunked"], b"0\r\n\r\n" + inner),
        ([b"Transfer-Encoding: chunked"], b"zz\r\n" + inner),
        ([b"Transfer-Encoding: chunked"], b"ffffffffffffffff1\r\n" + inner),
        ([b"Transfer-Encoding: chunked"], b"5\r\nab"),
        ([b"Transfer-Encoding: chunked"], b"3;" + b"x" * 20_000 + b"\r\na=1\r\n0\r\n\r\n"),
        ([b"Transfer-Encoding: chunked"], b"3\r\na=1\r\n0\r\n" + b"T: x\r\n" * 2000 + b"\r\n"),
        ([b"Transfer-Encoding: gzip, chunked"], b"3\r\na=1\r\n0\r\n\r\n"),
        ([b"Transfer-Encoding: chunked, identity"], b"a=1"),
        ([b"Transfer-Encoding:\tchunked"], b"3\r\na=1\r\n0\r\n\r\n"),
        ([b"Content-Encoding: gzip", b"Content-Length: 9"], rng.randbytes(9)),
        ([b"Expect: 100-continue", b"Content-Length: 9"], b""),
        ([b"Expect: 200-ok", b"Content-Length: 3"], b"a=1"),
        ([b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: x"], b""),
        ([b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMA"], b""),
        ([b" folded: x", b"Content-Length: 3"], b"a=1"),
        ([b"No colon", b"Content-Length: 3"], b"a=1"),
        ([b"Nul: \x00", b"Content-Length: 3"], b"a=1"),
    )
    headers, body = rng.choice(tricks)
    signed = [_guess(rng)] if rng.random() < 0.7 else []
    head = [b"POST /callbacks HTTP/1.1", b"Host: x", _FORM_HEADER, *signed, *headers]
    return Attack("framing", b"\r\n".join([*head, b"", body]), Expects.NOT_TAKEN, answers=0)


def _garbage(rng: random.Random, _number: int) -> Attack:
    lines = (
        rng.randbytes(rng.randint(1, 2000)),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(300),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(rng.randint(0, 500)),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" + rng.randbytes(90),
        b"GET /callbacks HTTP/9.9\r\n\r\n",
        b"GET /callbacks HTTP/1.0\r\n\r\n",
        b"GET /callbacks\r\n",
        b"\r\n" * 500,
        b"POST /callbacks HTTP/1.1\nHost: x\nContent-Length: 3\n\na=1",
        b"\x00" * 1000,
        b"POST /callbacks HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 50,
        _request(b"POST", b"/callbacks", [_guess(rng)], b"a=1")[: rng.randint(1, 90)],
    )
    return Attack("garbage", rng.choice(lines), Expects.NOT_TAKEN, answers=0)


def _pipelined(rng: random.Random, _number: int) -> Attack:
    count = rng.randint(2, 16)
    small = [_percents(rng)[0] for _ in range(count)]
    return Attack("pipelined", b"".join(small), Expects.REFUSED, answers=count)


# --- What Twilio signs


def _callback(number: int, rng: random.Random) -> Pairs:
    """A callback that is like no other, and tells its number."""
    letters = "Dana \t+&=%#'\"<é☎\N{GRINNING FACE}\x00"
    room, identity = number % 64, "".join(rng.choices(letters, k=rng.randint(1, 30)))
    pairs = [
        ("AccountSid", "AC" + "0" * 32),
        ("RoomSid", f"RM{room:032x}"),
        ("RoomName", f"Room {room}"),
        ("StatusCallbackEvent", "track-added"),
        ("Timestamp", "2023-08-14T20:00:00.000Z"),
        ("SequenceNumber", str(number)),
        ("ParticipantSid", f"PA{room:032x}"),
        ("ParticipantIdentity", identity),
        ("TrackSid", f"MT{number:032x}"),
        ("TrackKind", "audio"),
        *((f"New{n}", identity) for n in range(rng.choice((0, 0, 0, 1, 80)))),
    ]
    rng.shuffle(pairs)
    return pairs


def _body(pairs: Pairs, encode: Callable[..., str] = quote) -> bytes:
    return "&".join(f"{name}={encode(value, safe='')}" for name, value in pairs).encode()


@cache
def _validator() -> RequestValidator:
    return RequestValidator(TOKEN)


def _signed(url: str, pairs: Pairs) -> bytes:
    return _header("X-Twilio-Signature", _validator().compute_signature(url, dict(pairs)))


_URL = f"{PUBLIC_URL}/callbacks"


def _valid(rng: random.Random, number: int) -> Attack:
    """As Twilio sends it, or as it might one day."""
    pairs = _callback(number, rng)
    body = _body(pairs, rng.choice((quote, quote_plus)))
    way = rng.randrange(5)
    if way == 0:
        headers = [_signed(f"{_URL}?{body.decode()}", [])]
        return Attack("valid", _request(b"GET", b"/callbacks?" + body, headers), Expects.TAKEN)
    if way == 1:
        query = rng.choice(("bodySHA256=x", "a=b&c=%20", "a", "tenant=caf%C3%A9"))
        headers = [_signed(f"{_URL}?{query}", pairs), _FORM_HEADER]
        wire = _request(b"POST", b"/callbacks?" + query.encode(), headers, body)
        return Attack("valid", wire, Expects.TAKEN)
    headers = [_signed(_URL, pairs), _header("Content-Type", f"{FORM}; charset=UTF-8")]
    if way == 2:
        head = [b"POST /callbacks HTTP/1.1", b"Host: x", *headers, b"Transfer-Encoding: chunked"]
        wire = b"\r\n".join([*head, b"", _chunked(rng, body)])
        return Attack("valid", wire, Expects.TAKEN)
    if way == 3:
        headers.append(_header("Expect", "100-continue"))
    return Attack("valid", _request(b"POST", b"/callbacks", headers, body), Expects.TAKEN)


def _as_good(rng: random.Random, number: int) -> Attack:
    """Signed, with something around it that the signature does not cover."""
    pairs = _callback(number, rng)
    targets = (b"/callbacks#a", b"/%63allbacks", b"http://evil.example/callbacks", b"/callbacks")
    odd = rng.choice((b"", b"evil.example", b"\xff", b"a b", b":" * 50))
    more = [b"X-Forwarded-Host: " + odd, b"X-Forwarded-Proto: " + odd, b"Forwarded: host=" + odd]
    headers = [_signed(_URL, pairs), _FORM_HEADER, *more]
    wire = _request(b"POST", rng.choice(targets), headers, _body(pairs))
    return Attack("as good as signed", wire, Expects.ANSWERED, may_close=True)


def _mangled(rng: random.Random, number: int) -> Attack:
    """Signed, and then changed by somebody else."""
    pairs = _callback(number, rng)
    headers, target, body = [_signed(_URL, pairs), _FORM_HEADER], b"/callbacks", _body(pairs)
    place = rng.randrange(len(pairs))
    name, value = pairs[place]
    way = rng.randrange(10)
    if way == 0:
        body = _flipped(rng, body)
    elif way == 1:
        body = _body(
            [*pairs[:place], (name, value + rng.choice((" ", "x", "\x00"))), *pairs[place + 1 :]]
        )
    elif way == 2:
        body = _body([*pairs[:place], *pairs[place + 1 :]])
    elif way == 3:
        body = _body([*pairs, ("RoomStatus", "completed")])
    elif way == 4:
        # The signature does not cover it: the same name and value once more.
        body = _body([*pairs, pairs[place]])
    elif way == 5:
        target += rng.choice((b"?a", b"?a=b", b"?" + body))
    elif way == 6:
        target = rng.choice((b"//callbacks", b"/callbacks/", b"/video/callbacks", b"/CALLBACKS"))
    elif way == 7:
        headers[0] = _header("X-Twilio-Signature", _flipped(rng, headers[0].partition(b": ")[2]))
    elif way == 8:
        headers.append(rng.choice((headers[0], _guess(rng))))
    else:
        headers[1] = _header("Content-Type", rng.choice(("application/json", "text/plain")))
    wire = _request(b"POST", target, headers, body)
    return Attack("mangled after signing", wire, Expects.REFUSED)


def _flipped(rng: random.Random, raw: bytes) -> bytes:
    """Change one byte, so that something else is meant."""
    meant = parse_qsl(raw.decode(), keep_blank_values=True)
    while True:
        place = rng.randrange(len(raw))
        # Only what a header can hold too.
        changed = raw[:place] + bytes([rng.randrange(33, 127)]) + raw[place + 1 :]
        if parse_qsl(changed.decode(), keep_blank_values=True) != meant:
            return changed


_Maker = Callable[[random.Random, int], Attack]
_SHARES: dict[_Maker, int] = {
    _valid: 12,
    _as_good: 3,
    _mangled: 15,
    _refused("random bytes", _random_body): 8,
    _refused("percents", _percents): 8,
    _refused("many parameters", _many_parameters): 3,
    _refused("distinct parameters", _distinct_parameters): 3,
    _refused("huge value", _huge_value): 4,
    _refused("content type", _content_type): 5,
    _refused("json", _json): 4,
    _refused("multipart", _multipart): 4,
    _refused("signature headers", _signatures): 6,
    _refused("huge headers", _huge_headers): 3,
    _refused("forwarding", _forwarding): 5,
    _refused("query", _queries): 5,
    _paths: 6,
    _methods: 6,
    _framing: 8,
    _garbage: 5,
    _pipelined: 2,
}
_MAKERS, _WEIGHTS = list(_SHARES), list(_SHARES.values())


# --- Sending them


class Sender:
    """One connection at a time, kept as long as the door keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, one: Attack) -> list[Answer]:
        """Send it, and wait for what comes of it; fewer answers than owed: the door hung up."""
        kept = self._streams is not None
        answers = await self._exchange(one)
        if not answers and kept and one.answers:
            # The door closed the connection before it saw this one: RFC 9110, 9.2.2.
            answers = await self._exchange(one)
        return answers

    async def close(self) -> None:
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, one: Attack) -> list[Answer]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        answers: list[Answer] = []
        closes = not one.answers
        try:
            writer.write(one.wire)
            await writer.drain()
            if not one.answers:
                answers += _answers_in(await _rest(reader, writer))
            while len(answers) < one.answers and not closes:
                answers.append(await _answer(reader))
                closes = answers[-1].closes
        except (OSError, EOFError):
            closes = True
        except TimeoutError:
            await self.close()
            raise
        if closes:
            await self.close()
        return answers


async def _rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Everything that the door has to say to what may never become a request."""
    first = b""
    # The door drops a request whose sender has closed its half, so that comes second.
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            first = await reader.read(1)
    writer.write_eof()
    return first + await reader.read(-1)


async def _answer(reader: asyncio.StreamReader) -> Answer:
    status = 100
    while status < 200:
        head = await reader.readuntil(b"\r\n\r\n")
        status, size, closes = _head(head)
    body = await reader.readexactly(size)
    return Answer(status, _reason(body), closes)


def _answers_in(raw: bytes) -> list[Answer]:
    """Every answer on a connection that has ended; HEAD and CONNECT are sent last."""
    answers = []
    while raw.startswith(b"HTTP/1."):
        head, _, rest = raw.partition(b"\r\n\r\n")
        status, size, closes = _head(head)
        if status >= 200:
            answers.append(Answer(status, _reason(rest[:size]), closes))
        raw = rest[size:]
    return answers


def _head(head: bytes) -> tuple[int, int, bool]:
    """Status, length of the body, whether the connection ends."""
    first, *lines = head.lower().split(b"\r\n")
    named = dict(line.partition(b":")[::2] for line in lines)
    status = int(first.split()[1])
    # An answer that does not tell its length is the last one of its connection.
    endless = status >= 200 and status != 204 and b"content-length" not in named
    closes = endless or named.get(b"connection", b"").strip() == b"close"
    return status, int(named.get(b"content-length", b"0")), closes


def _reason(body: bytes) -> str:
    with suppress(ValueError, AttributeError):
        return str(json.loads(body).get("reason", ""))
    return ""


def fault_of(one: Attack, answers: list[Answer], seconds: float) -> str:
    """What is wrong with what came of a request; nothing where all is well."""
    statuses = [answer.status for answer in answers]
    if seconds > _SLOW_SECONDS:
        return f"answered after {seconds:.2f} s"
    for status, reason, _ in answers:
        if status >= 500 and (status, reason) != (503, "unavailable"):
            return f"answered {status}"
    if len(answers) < one.answers and not one.may_close:
        return f"hung up on after {len(answers)} of {one.answers} answers"
    fits = {
        Expects.TAKEN: lambda status: status == 204,
        Expects.REFUSED: lambda status: 400 <= status < 500,
        Expects.NOT_TAKEN: lambda status: status != 204,
        Expects.ANSWERED: lambda _status: True,
    }[one.expects]
    return "" if all(map(fits, statuses)) else f"answered {statuses}, not {one.expects.name}"


async def _send_all(seen: Seen, port: int, pid: int) -> None:
    numbers = iter(range(1, seen.plan.requests + 1))
    marks = {seen.plan.requests * percent // 100: percent for percent in (10, 50, 100)}

    async def work() -> None:
        sender = Sender(port)
        for number in numbers:
            await _send_one(seen, sender, number)
            if number in marks:
                seen.resident[marks[number]] = resident(pid)
        await sender.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(seen.plan.connections):
            group.create_task(work())


async def _send_one(seen: Seen, sender: Sender, number: int) -> None:
    one = attack(seen.plan.seed, number)
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_HANG_SECONDS):
            answers = await sender.send(one)
    except TimeoutError:
        await sender.close()
        answers, fault = [], "left hanging"
    else:
        fault = fault_of(one, answers, time.perf_counter() - began)
    seconds = time.perf_counter() - began
    seen.kinds[one.kind] += 1
    seen.statuses.update(str(answer.status) for answer in answers)
    if not answers:
        seen.statuses["closed without an answer"] += 1
    if any(answer.status == 204 for answer in answers):
        seen.taken.add(number)
    seen.slowest[one.kind] = max(seen.slowest.get(one.kind, (0.0, 0)), (seconds, number))
    if fault:
        seen.faults.append(f"request {number} ({one.kind}): {fault}")


# --- The whole of it


def resident(pid: int) -> int:
    """The resident memory of a process and its children, in bytes."""
    process = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


def _connections(pid: int, port: int) -> int:
    """How many connections the door still has."""
    process = psutil.Process(pid)
    return sum(
        end.laddr.port == port and end.status != psutil.CONN_LISTEN
        for one in (process, *process.children(recursive=True))
        for end in one.net_connections("tcp")
    )


@dataclass
class Door:
    """A running web process, and the Redis behind it."""

    port: int
    pid: int
    log: Path
    redis_url: str

    def deposited(self) -> set[int]:
        """The numbers of the callbacks that lie in the inboxes."""
        found = set()
        with Redis.from_url(self.redis_url) as redis:
            for shard in range(_REDIS_SHARDS):
                for _, fields in redis.xrange(Keyspace("rollcall").shard(shard).inbox):
                    params, _ = decode(fields)
                    found.add(int(params["SequenceNumber"]))
        return found


def fuzz(folder: Path, plan: Plan) -> Seen:
    """Start the web process, send everything, see what came of it; all is ended with it."""
    seen = Seen(plan)
    server = EmbeddedRedis(folder / "redis")
    server.start()
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": server.url,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "PUBLIC_URL": PUBLIC_URL,
        "PORT": str(port),
        "ROLLCALL_SPOOL_DIR": str(folder / "spool"),
    }
    try:
        with processes(environment, folder) as start:
            web = start("web")
            wait_for(lambda: healthy(port))
            began = time.monotonic()
            asyncio.run(_send_all(seen, port, web.pid))
            seen.seconds = time.monotonic() - began
            _look_behind(seen, Door(port, web.pid, web.log, server.url))
            if web.terminate():
                seen.faults.append("the web process did not end well")
    finally:
        server.stop()
    return seen


def _look_behind(seen: Seen, door: Door) -> None:
    """See what the answers do not tell."""
    # What went into the spool for a moment comes back within seconds.
    with suppress(AssertionError):
        wait_for(lambda: seen.taken <= door.deposited(), seconds=10)
    seen.deposited = door.deposited()
    if seen.deposited != seen.taken:
        seen.faults.append(
            f"answered 204 and not deposited: {sorted(seen.taken - seen.deposited)[:9]};"
            f" deposited and not answered 204: {sorted(seen.deposited - seen.taken)[:9]}"
        )
    with suppress(AssertionError):
        wait_for(lambda: not _connections(door.pid, door.port), seconds=5)
    if left := _connections(door.pid, door.port):
        seen.faults.append(f"{left} connections left open by the door")
    with door.log.open("rb") as lines:
        alarming = [line for line in lines if any(alarm in line for alarm in _ALARMS)]
    if alarming:
        seen.faults.append(f"{len(alarming)} alarming lines in the log, first: {alarming[0]!r}")
    # A short run ends while the threads still warm up.
    if seen.plan.requests >= LONG and seen.resident[100] - seen.resident[10] > _FLAT_BYTES:
        seen.faults.append(f"memory not flat: {seen.resident}")


def report(seen: Seen) -> str:
    plan, slow = seen.plan, sorted(seen.slowest.items(), key=lambda one: -one[1][0])
    kinds = (f"{kind} {count}" for kind, count in seen.kinds.most_common())
    statuses = (f"{status}: {count}" for status, count in sorted(seen.statuses.items()))
    resident_mib = (f"{seen.resident[at] / 2**20:.1f} MiB at {at} %" for at in (10, 50, 100))
    sent = sum(seen.kinds.values())
    slowest = (f"{at:.3f} s ({kind}, request {number})" for kind, (at, number) in slow[:3])
    lines = [
        f"seed      {plan.seed}",
        f"requests  {sent} over {plan.connections} connections, {seen.seconds:.0f} s",
        f"kinds     {', '.join(kinds)}",
        f"answers   {', '.join(statuses)}",
        f"taken     {len(seen.taken)} answered 204, {len(seen.deposited)} in the inboxes",
        f"slowest   {', '.join(slowest)}",
        f"resident  {', '.join(resident_mib)}",
        f"faults    {len(seen.faults)}",
        *(f"  {fault}" for fault in seen.faults[:20]),
    ]
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--requests", type=int, default=LONG)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--only", type=int, help="show this one request instead of sending any")
    asked = parser.parse_args()
    if asked.only is not None:
        one = attack(asked.seed, asked.only)
        sys.stdout.write(f"{one.kind}, {one.expects.name}\n{one.wire!r}\n")
        return 0
    plan = Plan(asked.seed, asked.requests, asked.connections)
    with tempfile.TemporaryDirectory() as folder:
        seen = fuzz(Path(folder), plan)
    sys.stdout.write(report(seen))
    return bool(seen.faults)


if __name__ == "__main__":
    sys.exit(main())
