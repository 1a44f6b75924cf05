"""Worker logs for tests of the audit: real ones, and what is done to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from audit_sample import log_of, recorded, storm
from rooms import BOUNDS

from console.audit.verify import Demands, verify
from schemas.audit import seal, signed
from schemas.audit_keys import SigningKey
from workers.scribe import Scribe

KEY, _ = SigningKey.generated()
# One room is not closed; the other is, and its closing record is signed.
RECORDED = log_of(recorded(), Scribe(BOUNDS, key=KEY))
STORM = log_of(storm(), Scribe(BOUNDS, key=KEY))
RECORDED_ROOM, STORM_ROOM = (
    json.loads(log.splitlines()[0])["room_sid"] for log in (RECORDED, STORM)
)


class Said(NamedTuple):
    """What verify said."""

    whole: bool
    # What is wrong with each room, in words.
    rooms: dict[str, list[str]]
    summary: dict[str, Any]


class Verifier:
    """Verifies logs, in files of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._capsys = capsys

    def __call__(self, *logs: bytes, demands: Demands | None = None) -> Said:
        paths = [self._folder / f"worker-{number}.log" for number in range(len(logs))]
        for path, log in zip(paths, logs, strict=True):
            path.write_bytes(log)
        self._capsys.readouterr()
        names = [str(path) for path in paths]
        whole = verify(names, demands or Demands(), quiet=False, as_json=True)
        *rooms, summary = map(json.loads, self._capsys.readouterr().out.splitlines())
        said = {one["room_sid"]: [found["word"] for found in one["findings"]] for one in rooms}
        return Said(whole, said, summary)


def lines_of(log: bytes) -> list[bytes]:
    return log.splitlines(keepends=True)


def changed(line: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Change what a record says, and leave its hash as it is."""
    record = json.loads(line)
    change(record)
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def resealed(line: bytes, **change: Any) -> tuple[str, bytes]:
    """Change what a record says and give it a hash that fits, as anybody can.

    Returns:
        the hash, and the line; it keeps its signature, if it had one.
    """
    record = json.loads(line) | change
    signature = record.pop("signature", None)
    del record["hash"]
    digest, sealed = seal(record)
    return digest, signed(sealed, signature) if signature else sealed
