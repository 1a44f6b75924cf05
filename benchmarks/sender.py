"""The sender: a process of its own that fires signed requests over connections that it keeps.

It counts answers and says when each request went out. Written for this, on bare sockets: every
callback goes out once and in its order, its moment is known, and what is sent next depends on the
backlog. A request takes it some 20 µs, about as much as wrk. `python -m benchmarks.sender` takes an
order on standard input and gives a report on standard output, both as JSON.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from redis import Redis

from benchmarks.backlog import backlog_of
from benchmarks.orders import Order, Report, Stamp
from benchmarks.shots import Shot, read_shots

# An answer that takes longer is none.
_ANSWER_SECONDS = 10.0
_LOOK_SECONDS = 0.02
_ONE_READ = 65_536


class _Standing(NamedTuple):
    """How far a sender is."""

    at: float
    accepted: int
    waiting: int


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = b""


class Sender:
    """Fires the shots of one order."""

    def __init__(self, order: Order, shots: list[Shot]) -> None:
        self._order = order
        self._shots: Iterator[Shot] = iter(shots[order.first :])
        self._poll = select.epoll()
        self._free: deque[_Connection] = deque()
        self._busy: dict[int, _Connection] = {}
        self._redis = Redis.from_url(order.redis_url) if order.redis_url else None
        self._answers: Counter[int] = Counter()
        self._stamps: list[Stamp] = []
        self._is_over = False
        self._sent = 0
        self._waiting = 0
        self._looks = 0
        self._look_at = 0.0

    def run(self) -> Report:
        """Send for as long as the order says, and wait for the last answers."""
        began, loaded = time.monotonic(), time.process_time()
        warm = self._send_until(began, began + self._order.warm_seconds)
        ended = self._send_until(began, began + self._order.warm_seconds + self._order.seconds)
        self._finish()
        seconds = ended.at - warm.at
        accepted, waiting = ended.accepted - warm.accepted, ended.waiting - warm.waiting
        return Report(
            sent=self._sent,
            answers=dict(self._answers),
            accepted_per_second=accepted / seconds,
            applied_per_second=(accepted - waiting) / seconds,
            looks=self._looks,
            cpu_seconds=time.process_time() - loaded,
        )

    def write_stamps(self) -> None:
        """Write down when each request went out, where that was ordered."""
        if self._order.stamps:
            Path(self._order.stamps).write_bytes(msgspec.msgpack.encode(self._stamps))

    def _send_until(self, began: float, until: float) -> _Standing:
        """Send; tell how far it was when that ended."""
        while (now := time.monotonic()) < until and not self._is_over:
            if now >= self._look_at:
                self._look(now)
            while self._is_due(now - began):
                self._fire_next()
            self._receive(min(_LOOK_SECONDS, max(0.0, until - now), self._pause(now - began)))
        self._look(now)
        return _Standing(time.monotonic(), self._answers[204], self._waiting)

    def _is_due(self, elapsed: float) -> bool:
        if self._is_over:
            return False
        if self._order.rate:
            return self._sent < elapsed * self._order.rate
        return len(self._busy) < self._order.connections and not self._is_held()

    def _is_held(self) -> bool:
        return 0 < self._order.most_waiting <= self._waiting

    def _pause(self, elapsed: float) -> float:
        """How long nothing is to be sent, in seconds."""
        rate = self._order.rate
        return max(0.0, (self._sent + 1) / rate - elapsed) if rate else _LOOK_SECONDS

    def _look(self, now: float) -> None:
        """Ask how much waits, where that decides what is sent."""
        if self._redis and self._order.most_waiting:
            self._waiting = backlog_of(self._order.system, self._redis)
            self._looks += 1
            self._look_at = now + _LOOK_SECONDS

    def _fire_next(self) -> None:
        shot = next(self._shots, None)
        if shot is None:
            self._is_over = True
            return
        stamp = time.monotonic_ns()
        # With a rate, one that waits must not hold up the next: whoever calls knows nothing of it.
        connection = self._free.pop() if self._free else self._connect()
        connection.socket.sendall(shot.request)
        self._busy[connection.socket.fileno()] = connection
        self._sent += 1
        if self._order.stamps:
            self._stamps.append(Stamp(shot.mark, stamp))

    def _connect(self) -> _Connection:
        connection = _Connection(self._order.port)
        self._poll.register(connection.socket, select.EPOLLIN)
        return connection

    def _receive(self, seconds: float) -> None:
        for number, _ in self._poll.poll(seconds):
            connection = self._busy.get(number)
            if connection is None:
                self._forget_idle(number)
                continue
            piece = connection.socket.recv(_ONE_READ)
            connection.answer += piece
            if not piece or _is_whole(connection.answer):
                self._answered(connection, whole=bool(piece))

    def _answered(self, connection: _Connection, *, whole: bool) -> None:
        del self._busy[connection.socket.fileno()]
        answer, connection.answer = connection.answer, b""
        self._answers[int(answer[9:12]) if whole else 0] += 1
        if whole and b"\r\nconnection: close\r\n" not in answer.lower():
            self._free.append(connection)
        else:
            self._close(connection)

    def _forget_idle(self, number: int) -> None:
        """Let a connection go that the server has closed between two requests."""
        for connection in [one for one in self._free if one.socket.fileno() == number]:
            self._free.remove(connection)
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._poll.unregister(connection.socket)
        connection.socket.close()

    def _finish(self) -> None:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while self._busy and time.monotonic() < deadline:
            self._receive(_LOOK_SECONDS)
        self._answers[0] += len(self._busy)
        self._answers += Counter()  # leaves out what is 0


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return len(body) >= int(rest.partition(b"\r\n")[0]) if found else True


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sender = Sender(order, read_shots(Path(order.shots)))
    report = sender.run()
    sender.write_stamps()
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
