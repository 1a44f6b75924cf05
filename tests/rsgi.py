"""Requests as Granian hands them over (RSGI), for tests without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace


class Request:
    """One request as the server hands it over (RSGI), and the answer that it gets."""

    def __init__(
        self, *headers: tuple[str, str], chunks: tuple[bytes, ...] = (), ends: bool = True
    ) -> None:
        self.scope = SimpleNamespace(
            method="POST",
            path="/callbacks",
            query_string="a=1",
            scheme="http",
            server="10.0.0.1:8080",
            client="192.0.2.7:50000",
            http_version="1.1",
            headers=SimpleNamespace(items=lambda: headers),
        )
        self.chunks = chunks
        self.ends = ends
        self.read = 0
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    async def __call__(self) -> bytes:
        return b"".join([chunk async for chunk in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            self.read += len(chunk)
            yield chunk
        if not self.ends:
            await asyncio.Event().wait()

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
