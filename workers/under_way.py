"""Asks under way: a thread sends them, so that Redis answers one shard while another is digested.

What is put while Redis answers goes out together then, and the answers come in the order of the
asks. Knows nothing of what is asked, nor of how it is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from workers.asking import Ask


class UnderWay:
    """The asks of one process that are on their way. The thread is there while it is needed."""

    def __init__(self, send: Callable[[Sequence[Ask[Any]]], list[Any]]) -> None:
        """Send nothing yet.

        Args:
            send: gives an answer to each ask, or the error that it failed with, and takes no longer
                than Redis is waited for.
        """
        self._send = send
        self._thread = ThreadPoolExecutor(1, "asks")
        self._unsent: deque[tuple[Ask[Any], Future[Any]]] = deque()
        self._asked: deque[tuple[int, Future[Any]]] = deque()

    def close(self) -> None:
        """End the thread; what it was still to ask is not asked."""
        self._thread.shutdown(cancel_futures=True)

    def __bool__(self) -> bool:
        """Whether an answer is to come."""
        return bool(self._asked)

    def put(self, shard: int, ask: Ask[Any]) -> None:
        """Have something asked for a shard."""
        answer: Future[Any] = Future()
        self._asked.append((shard, answer))
        self._unsent.append((ask, answer))
        self._thread.submit(self._send_all)

    def has_come(self) -> bool:
        """Whether the next answer is there already."""
        return bool(self._asked) and self._asked[0][1].done()

    def next(self) -> tuple[int, Any]:
        """Wait for the next answer, and tell which shard it is for."""
        shard, answer = self._asked.popleft()
        return shard, answer.result()

    def _send_all(self) -> None:
        """Send what waits by now, if an earlier call has left anything."""
        waiting = [self._unsent.popleft() for _ in range(len(self._unsent))]
        if not waiting:
            return
        try:
            answers = self._send([ask for ask, _ in waiting])
        except Exception as error:  # noqa: BLE001  # handed to all that asked, as `send` does itself
            answers = [error] * len(waiting)
        for (_, of), answer in zip(waiting, answers, strict=True):
            of.set_result(answer)
