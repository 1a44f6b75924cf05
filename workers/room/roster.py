"""The roster: who was in a room, exactly, said once the room is closed and quiet.

Events say what was believed when they were published, and remarks in them may have been refined
since. These are the last figures of all.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from workers.room.diff import Event, Moment
from workers.room.facts import Facts, Row
from workers.room.tallies import row_of
from workers.room.value import asdict, replace
from workers.room.view import View


def roster(facts: Facts, view: View) -> dict[str, Any]:
    """Make the data of `room.settled`, all but its edition.

    Args:
        facts: of a closed room.
        view: of the whole room.
    """
    rows = [
        *facts.rows,
        *(
            row_of(facts, sid, session, view.evictions.get(sid))
            for sid, session in facts.sessions.items()
        ),
    ]
    room = view.room
    return {
        "room_type": view.room_type,
        "start": Moment(room.start) if room else None,
        "end": Moment(facts.until) if room else None,
        "closed_by": room.closed_by if room else None,
        "duration_seconds": room.duration_seconds if room else None,
        "sessions": [_session(row) for row in sorted(rows, key=_when)],
        # Of those beyond what can be listed.
        "tallies": [
            {"identity": identity, **asdict(tally)}
            for identity, tally in (*facts.tallies.items(), (None, facts.others))
            if tally.sessions
        ],
        "missing": [list(one) for one in view.missing],
    }


def settled(facts: Facts, view: View, at: int) -> tuple[Facts, list[Event]]:
    """Say the roster, unless the one said last was the same."""
    told = roster(facts, view)
    digest = sha256(repr(told).encode(errors="backslashreplace")).hexdigest()[:16]
    if facts.editions and digest == facts.settled:
        return facts, []
    edition = facts.editions + 1
    event = Event("room.settled", facts.room_sid, at, {"edition": edition, **told})
    return replace(facts, editions=edition, settled=digest), [event]


def _session(row: Row) -> dict[str, Any]:
    return {
        "participant_sid": row.participant_sid,
        "identity": row.identity,
        "start": Moment(row.start),
        "end": Moment(row.end),
        "seconds": row.seconds,
        "evicted_by": row.evicted_by,
        "tracks": [
            {
                "track_sid": sid,
                "kind": kind,
                "name": name,
                "start": Moment(start),
                "end": Moment(end),
            }
            for sid, kind, name, start, end in row.tracks
        ],
    }


def _when(row: Row) -> tuple[int, str]:
    return row.start, row.participant_sid
