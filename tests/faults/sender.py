"""The sender: callbacks over HTTP as Twilio sends them, over connections that are kept alive.

One that got no answer was not acknowledged, and is sent again: whoever needs to know the outcome
does that. So in the end everything that was sent is acknowledged, and must be applied once.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote, urlencode

from faults.meetings import Meetings, Params
from procfile import PUBLIC_URL
from twilio.request_validator import RequestValidator

TOKEN = "a-token-of-the-tests"
_THREADS = 8
# Longer than the door takes for any answer.
_ANSWER_SECONDS = 10.0
_AGAIN_SECONDS = 0.05
# The most that all that was sent may take to be acknowledged, once nothing new is sent.
_FINISH_SECONDS = 60.0


class Sender:
    """Sends meetings at a steady rate; `acknowledged` has what was answered 204, with repetitions.

    Args:
        port: of the web process.
        seed: of the meetings.
        rate: callbacks a second, over all threads.
    """

    def __init__(self, port: int, seed: int, rate: int) -> None:
        self._port = port
        self._meetings = Meetings(seed)
        self._gap = _THREADS / rate
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._rest: list[Params] | None = None
        # Whether nothing new is to be sent for now, and how many callbacks are being sent.
        self._pausing = False
        self._busy = 0
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(_THREADS)]
        self._sign = RequestValidator(TOKEN).compute_signature
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0
        self.acknowledged: list[Params] = []

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def pause(self) -> None:
        """Send nothing new; return when all that was sent is acknowledged."""
        with self._lock:
            self._pausing = True
        deadline = time.monotonic() + _FINISH_SECONDS
        while self._busy:
            assert time.monotonic() < deadline, "The door does not acknowledge any more."
            time.sleep(0.01)

    def go_on(self) -> None:
        self._pausing = False

    def finish(self) -> None:
        """Send what is on its way still, so that no number is missing, and nothing more."""
        with self._lock:
            self._rest = self._meetings.rest()
            self._pausing = False
        deadline = time.monotonic() + _FINISH_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "The door does not acknowledge any more."

    def stop(self) -> None:
        """Give up, whatever was not sent yet."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_ANSWER_SECONDS)

    def _send(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_SECONDS)
        due = time.monotonic()
        for params in self._callbacks():
            while not (self._stopping.is_set() or self._acknowledged(connection, params)):
                self._stopping.wait(_AGAIN_SECONDS)
            with self._lock:
                self._busy -= 1
                if not self._stopping.is_set():
                    self.acknowledged.append(params)
            # What could not be sent in time is not made up for: nobody wants a flood afterwards.
            due = max(due + self._gap, time.monotonic())
            self._stopping.wait(due - time.monotonic())
        connection.close()

    def _callbacks(self) -> Iterator[Params]:
        while not self._stopping.is_set():
            with self._lock:
                if self._rest == [] and not self._pausing:
                    return
                params = None if self._pausing else self._next()
                self._busy += params is not None
            if params is None:
                self._stopping.wait(0.01)
            else:
                yield params

    def _next(self) -> Params:
        return next(self._meetings) if self._rest is None else self._rest.pop(0)

    def _acknowledged(self, connection: HTTPConnection, params: Params) -> bool:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Twilio-Signature": self._sign(f"{PUBLIC_URL}/callbacks", params),
            "I-Twilio-Idempotency-Token": "f119f19c-b042-4454-8ab0-ce388602ba05",
        }
        began = time.monotonic()
        try:
            body = urlencode(params, quote_via=quote).encode()
            connection.request("POST", "/callbacks", body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            connection.close()
            return False
        with self._lock:
            self.answers[answer.status] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
        return answer.status == 204
