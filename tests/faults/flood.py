"""The flood of a soak: callbacks over many kept connections, as fast as the door takes them.

One thread and bare sockets, since the sender shares two cores with all that it sends to. What got
no 204 is sent again until it does. It holds nothing back but what is on its way.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, urlencode

from faults.books import Books
from faults.meetings import Meetings, Params
from faults.sender import TOKEN
from procfile import PUBLIC_URL
from twilio.request_validator import RequestValidator

# As many as the door has threads, and some that wait for one.
_CONNECTIONS = 24
# Callbacks that wait in the inboxes, some 5 MiB: what is more would look like a leak of Redis.
_MOST_WAITING = 5_000
# Longer than the door takes for any answer.
_ANSWER_SECONDS = 10.0
_CONNECT_SECONDS = 1.0
_AGAIN_SECONDS = 0.05
_LOOK_SECONDS = 0.02
# For so long the door may acknowledge nothing, whatever is broken.
_PATIENCE_SECONDS = 120.0
_ONE_READ = 65_536
_HEAD = (
    "POST /callbacks HTTP/1.1\r\n"
    "Host: rollcall.example\r\n"
    "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
    "Content-Length: {length}\r\n"
    "X-Twilio-Signature: {signature}\r\n"
    "I-Twilio-Idempotency-Token: f119f19c-b042-4454-8ab0-ce388602ba05\r\n"
    "\r\n"
    "{body}"
)


class _Shot(NamedTuple):
    """A callback as a whole request."""

    room_sid: str
    number: int
    request: bytes


class _Connection:
    """A connection, and what is under way on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), _CONNECT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.shot: _Shot | None = None
        self.answer = b""
        self.since = 0.0


class Flood:
    """Sends meetings.

    Args:
        port: of the web process.
        meetings: what is sent.
        books: where it is noted.
        rate: callbacks a second at the most.
        waiting: tells how many callbacks wait in the inboxes.
    """

    def __init__(
        self, port: int, meetings: Meetings, books: Books, rate: float, waiting: Callable[[], int]
    ) -> None:
        self._port = port
        self._meetings = meetings
        self._books = books
        self._gap = 1 / rate
        self._waiting = waiting
        self._sign = RequestValidator(TOKEN).compute_signature
        self._selector = selectors.DefaultSelector()
        self._free: list[_Connection] = []
        self._busy: set[_Connection] = set()
        # What has to be sent before anything new.
        self._first: deque[_Shot] = deque()
        self._due = 0.0
        self._heard_at = 0.0
        self._holding = threading.Event()
        self._finishing = threading.Event()
        self._ending = threading.Event()
        self._shots = 0
        self.answers: Counter[int] = Counter()

    def run(self) -> None:
        """Send until `end` is called, or all is acknowledged after `finish`."""
        self._heard_at = time.monotonic()
        while not self._ending.is_set():
            # Asked once: what is on its way must have been sent before this ends.
            finishing = self._finishing.is_set()
            if finishing:
                self._first.extend(map(self._shot, self._meetings.rest()))
            self._fire()
            self._listen()
            if finishing and self.is_idle:
                break
        for connection in (*self._free, *self._busy):
            connection.socket.close()
        self._selector.close()

    def hold(self) -> None:
        """Send nothing new."""
        self._holding.set()

    def go_on(self) -> None:
        self._holding.clear()

    def finish(self) -> None:
        """Send what is on its way still, so that no number is missing, and nothing more."""
        self._holding.set()
        self._finishing.set()

    def end(self) -> None:
        """Give up, whatever was not sent yet."""
        self._ending.set()

    @property
    def is_idle(self) -> bool:
        """Whether all that was sent is acknowledged."""
        return self._shots == self.answers[204]

    def _fire(self) -> None:
        """Send all that is due."""
        now = time.monotonic()
        while now >= self._due and len(self._busy) < _CONNECTIONS:
            shot = self._next()
            if shot is None:
                return
            try:
                self._send(shot, now)
            except OSError:
                # The door is away. It comes back.
                self._first.append(shot)
                self._due = now + _AGAIN_SECONDS
                return
            # What could not be sent in time is not made up for.
            self._due = max(self._due + self._gap, now - _LOOK_SECONDS)

    def _next(self) -> _Shot | None:
        if self._first:
            return self._first.popleft()
        if self._holding.is_set() or self._waiting() > _MOST_WAITING:
            return None
        return self._shot(next(self._meetings))

    def _shot(self, params: Params) -> _Shot:
        body = urlencode(params, quote_via=quote)
        signature = self._sign(f"{PUBLIC_URL}/callbacks", params)
        request = _HEAD.format(length=len(body), signature=signature, body=body).encode()
        shot = _Shot(params["RoomSid"], int(params["SequenceNumber"]), request)
        self._books.send(shot.room_sid, shot.number)
        self._shots += 1
        return shot

    def _send(self, shot: _Shot, now: float) -> None:
        connection = self._free.pop() if self._free else self._connect()
        connection.shot, connection.since = shot, now
        self._busy.add(connection)
        try:
            connection.socket.sendall(shot.request)
        except OSError:
            # It was closed while nobody looked.
            connection.shot = None
            self._close(connection)
            raise

    def _connect(self) -> _Connection:
        connection = _Connection(self._port)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def _listen(self) -> None:
        """Take the answers that are there, and give up those that do not come."""
        wait = min(_LOOK_SECONDS, max(0.0, self._due - time.monotonic()))
        for key, _ in self._selector.select(wait or _LOOK_SECONDS / 10):
            self._receive(key.data)
        now = time.monotonic()
        for connection in [one for one in self._busy if now - one.since > _ANSWER_SECONDS]:
            self._close(connection)
        if self.is_idle:
            self._heard_at = now
        assert now - self._heard_at < _PATIENCE_SECONDS, "The door does not acknowledge any more."

    def _receive(self, connection: _Connection) -> None:
        try:
            piece = connection.socket.recv(_ONE_READ)
        except OSError:
            piece = b""
        connection.answer += piece
        if not piece:
            self._close(connection)
        elif b"\r\n\r\n" in connection.answer:
            self._take(connection)

    def _take(self, connection: _Connection) -> None:
        """Take an answer: one to a callback that is acknowledged has no body."""
        status = int(connection.answer[9:12])
        self.answers[status] += 1
        if status != 204:
            assert status == 503, connection.answer
            self._due = time.monotonic() + _AGAIN_SECONDS
            self._close(connection)
            return
        self._heard_at = time.monotonic()
        shot, connection.shot, connection.answer = connection.shot, None, b""
        assert shot is not None, "an answer to nothing"
        self._books.acknowledge(shot.room_sid, shot.number)
        self._busy.discard(connection)
        self._free.append(connection)

    def _close(self, connection: _Connection) -> None:
        """Close a connection; what was under way on it comes again."""
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._busy.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if connection.shot:
            self._first.append(connection.shot)
