"""Log lines for a person at a terminal; everybody else gets them as JSON."""

from __future__ import annotations

import os

import msgspec
import structlog

from schemas.logs import Lines

# What is of no use to somebody who looks on: it is for machines, and long.
_FOR_MACHINES = frozenset(
    ("hash", "prev", "basis", "terms", "digests", "signature", "key_id", "process", "pid", "params")
)
_EVENT_WIDTH = 24

_decode = msgspec.json.Decoder().decode


class TerminalLines(Lines):
    """Lines that are written so that they can be read."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._render = structlog.dev.ConsoleRenderer(
            pad_event_to=_EVENT_WIDTH, timestamp_key="time", colors="NO_COLOR" not in os.environ
        )

    def write(self, lines: bytes) -> None:
        """Write lines of JSON.

        Raises:
            OSError: the terminal is gone.
        """
        super().write(b"".join(map(self._rendered, lines.splitlines())))

    def _rendered(self, line: bytes) -> bytes:
        told = {name: said for name, said in _decode(line).items() if name not in _FOR_MACHINES}
        return str(self._render(None, "", told)).encode(errors="backslashreplace") + b"\n"


def lines_to(descriptor: int) -> Lines:
    """Make lines to a file descriptor, in the form that whoever reads there wants."""
    return TerminalLines(descriptor) if os.isatty(descriptor) else Lines(descriptor)
