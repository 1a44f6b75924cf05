"""Asks under way: a thread sends them, so that Redis answers one shard while another is digested.

What is asked goes out one after the other, and the answers come in that order. Knows nothing of
what is asked, nor of who sends it.
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
        self._asks: deque[tuple[int, Future[list[Any]]]] = deque()

    def close(self) -> None:
        """End the thread; what it was still to ask is not asked."""
        self._thread.shutdown(cancel_futures=True)

    def __bool__(self) -> bool:
        """Whether an answer is to come."""
        return bool(self._asks)

    def put(self, shard: int, ask: Ask[Any]) -> None:
        """Have something asked for a shard."""
        self._asks.append((shard, self._thread.submit(self._send, [ask])))

    def next(self) -> tuple[int, Any]:
        """Wait for the next answer, and tell which shard it is for."""
        shard, answers = self._asks.popleft()
        (answer,) = answers.result()
        return shard, answer
