"""The sample page of the audit: the recorded room, and a made one in which two tabs take turns.

`make sample-audit` writes docs/sample-audit.html; a test makes sure that it is what comes out now.
Nobody recorded when callbacks arrived; that is made up, and so is everybody in the second room.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from rooms import BOUNDS, callback

from console.audit.explain import collect
from console.audit.narration import tell
from console.audit.page import Chapter, chapter, page_of
from console.audit.rebuild import rebuild
from console.audit.sources import Sources
from console.audit.words import read_moment
from schemas.inbox import encode_params
from schemas.keys import shard_of
from schemas.parsing import parse_timestamp
from schemas.reading import room_of
from workers.arrivals import read_entries
from workers.digest import Circumstances, Digester
from workers.scribe import Scribe

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "sample-audit.html"
_RECORDED = ROOT / "console" / "scenes" / "recorded.jsonl"
_CONTEXT = {"task_id": "b420e23e-4880-40cd-b753-6940eb1a008d", "worker": "worker-1:41"}
_SECOND = 1_000_000
_ROOM = {"RoomSid": "RM" + sha256(b"room").hexdigest()[:32], "RoomName": "Team Room"}

Params = dict[str, str]


class Sent(NamedTuple):
    """A callback, and when it arrives, in microseconds since 1970."""

    params: Params
    arrives: int


def recorded() -> list[Sent]:
    """The recorded room, each callback 0.1 s on its way."""
    lines = [json.loads(line)["params"] for line in _RECORDED.read_text().splitlines()]
    return [
        Sent(one, parse_timestamp(one["Timestamp"]) + _SECOND // 10)
        for one in lines
        if room_of(one) == room_of(lines[0])
    ]


def storm() -> list[Sent]:
    """Dana has two tabs that take turns; Kim is there all the while; not everything is heard."""
    told: list[tuple[str, int, dict[str, str]]] = [
        ("room-created", 0, {"RoomType": "group", "RoomStatus": "in-progress"}),
        ("participant-connected", 2_100, _of("Kim", 20)),
        ("track-added", 2_100, _of("Kim", 20) | _track(40, "audio")),
        ("track-added", 2_150, _of("Kim", 20) | _track(41, "video")),
        ("participant-connected", 31_000, _of("Dana", 1)),
        ("track-added", 31_001, _of("Dana", 1) | _track(51, "video")),
    ]
    starts = [52_000, 57_300, 61_900, 66_200, 71_800]
    for number, start in enumerate(starts, start=2):
        told += [
            ("participant-connected", start, _of("Dana", number)),
            ("participant-disconnected", start + 84, _of("Dana", number - 1)),
            ("track-added", start + 320, _of("Dana", number) | _track(50 + number, "video")),
        ]
    told += [
        ("track-disabled", 45_000, _of("Kim", 20) | _track(40, "audio")),
        ("track-enabled", 83_500, _of("Kim", 20) | _track(40, "audio")),
        ("track-disabled", 101_000, _of("Dana", 6) | _track(56, "video")),
        ("participant-disconnected", 140_000, _of("Dana", 6) | {"ParticipantDuration": "68"}),
        ("participant-connected", 163_000, _of("Robin", 30)),
        ("track-added", 163_400, _of("Robin", 30) | _track(60, "audio")),
        ("participant-disconnected", 185_000, _of("Robin", 30)),
        ("participant-disconnected", 203_000, _of("Kim", 20)),
        ("room-ended", 204_000, {"RoomType": "group", "RoomStatus": "completed"}),
    ]
    told.sort(key=lambda one: one[1])
    sent = []
    for number, (event, at, params) in enumerate(told):
        one = callback(event, at, SequenceNumber=str(number), **params) | _ROOM
        arrives = parse_timestamp(one["Timestamp"]) + 120_000
        if event == "participant-connected" and params["ParticipantIdentity"] == "Robin":
            continue  # never heard
        if event == "track-disabled" and params["ParticipantIdentity"] == "Kim":
            arrives += 21 * _SECOND  # so late that it was missed
        sent.append(Sent(one, arrives))
        if event == "track-enabled":
            sent.append(Sent(one, arrives + 2 * _SECOND))  # heard twice
    return sorted(sent, key=lambda one: one.arrives)


def _of(identity: str, number: int) -> dict[str, str]:
    return {"ParticipantIdentity": identity, "ParticipantSid": _sid("PA", number)}


def _sid(prefix: str, number: int) -> str:
    return prefix + sha256(f"{prefix}{number}".encode()).hexdigest()[:32]


def _track(number: int, kind: str) -> dict[str, str]:
    return {"TrackSid": _sid("MT", number), "TrackKind": kind, "TrackName": kind}


def log_of(sent: Iterable[Sent], scribe: Scribe | None = None) -> bytes:
    """Write the worker log of one room, up to a quarter of an hour after its last callback."""
    scribe = scribe or Scribe(BOUNDS)
    stored: dict[str, bytes | None] = {}
    lines, last, room_sid = b"", 0, ""
    for params, arrives in sent:
        room_sid, last = room_of(params), arrives
        shard = shard_of(room_sid, 8)
        fields = {b"params": encode_params(params), b"token": b""}
        around = Circumstances(shard, _CONTEXT, BOUNDS, lambda at=arrives: at + 3_000, scribe)
        digester = Digester(stored or {room_sid: None, f"shard-{shard}": None}, around)
        arrivals = read_entries(shard, [(b"%d-0" % (arrives // 1000), fields)])
        batch, _ = digester.digest(arrivals, until=math.inf)
        stored |= {sid: one.record for sid, one in batch.rooms.items()}
        lines += batch.audit_lines
    later = last + 15 * 60 * _SECOND
    around = Circumstances(shard_of(room_sid, 8), _CONTEXT, BOUNDS, lambda: later, scribe)
    return lines + Digester(stored, around).elapse([room_sid], later, until=math.inf).audit_lines


def document() -> str:
    """Make the page."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "worker.log"
        log.write_bytes(log_of(recorded()) + log_of(storm()))
        sources = Sources([str(log)])
        return page_of(
            [
                _chapter(sources, room_of(recorded()[0].params), "20:25"),
                _chapter(sources, _ROOM["RoomSid"], None),
            ]
        ).replace(str(log), "worker.log")


def _chapter(sources: Sources, room_sid: str, at: str | None) -> Chapter:
    logged = collect(sources, room_sid)
    story = tell(rebuild(room_sid, logged.records))
    return chapter(story, logged.judgement, at=None if at is None else read_moment(at, story.span))


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
