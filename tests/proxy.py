"""A TCP proxy in front of the real Redis, that can lose or delay replies: the way networks fail."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_BOUND_SECONDS = 10.0


class Proxy:
    """Passes bytes both ways; after `lose_reply_to(text)`, cuts that command's reply off."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname, parts.port)
        self._credentials = parts.netloc.rpartition("@")[0]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._cut: bytes | None = None
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.cuts = 0
        # How many seconds every reply is held back.
        self.delay = 0.0

    @property
    def url(self) -> str:
        return f"redis://{self._credentials}@127.0.0.1:{self._listener.getsockname()[1]}/0"

    def lead_to(self, url: str) -> None:
        """Have connections that are opened from now on lead to another server."""
        parts = urlsplit(url)
        self._upstream = (parts.hostname, parts.port)

    def lose_reply_to(self, text: bytes) -> None:
        self._cut = text

    def close(self) -> None:
        self._stopping.set()
        for thread in list(self._threads):
            thread.join(_BOUND_SECONDS)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream) as server:
            for one in (client, server):
                one.settimeout(0.02)
            while not self._stopping.is_set():
                asked = _receive(client)
                if asked == b"":
                    return
                if asked:
                    server.sendall(asked)
                lose = bool(asked and self._cut and self._cut in asked)
                answered = _receive(server, wait=lose)
                if lose:
                    # Redis has answered, so the command took effect; its caller never learns.
                    self._cut = None
                    self.cuts += 1
                    return
                if answered:
                    time.sleep(self.delay)
                    client.sendall(answered)


def _receive(end: socket.socket, *, wait: bool = False) -> bytes | None:
    end.settimeout(_BOUND_SECONDS if wait else 0.005)
    try:
        return end.recv(1 << 20)
    except TimeoutError:
        return None
    except ConnectionError:
        return b""


@contextmanager
def proxy_to(url: str) -> Iterator[Proxy]:
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
