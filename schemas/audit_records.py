"""The fields of audit records, with what each says. The tables of docs/audit.md are made from them.

Data alone: how a record is hashed is in `schemas/audit.py`, and who fills it in `workers/steps.py`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.audit import RECORDS, SETTLED, STARTED, TIMER, canonical


class Terms(Struct, frozen=True):
    """What conclusions are drawn with; `basis` is its fingerprint."""

    version: Annotated[str, Meta(description="the version of Rollcall")]
    code: Annotated[
        str, Meta(description="the first 16 hex digits of the SHA-256 over the heart's source")
    ]
    identities: Annotated[
        str,
        Meta(
            description="`plain`; or `hashed:` and a fingerprint of the key that names are hashed"
            " with"
        ),
    ]
    bounds: Annotated[
        dict[str, int],
        Meta(
            description="the settings that verdicts are made with: microseconds, and `capacity` in"
            " participants"
        ),
    ]


class Totals(Struct, frozen=True):
    """What a room has come to."""

    events: Annotated[int, Meta(description="derived events published; the last `roomrevision`")]
    alerts: Annotated[int, Meta(description="alerts published; the last `roomalert`")]
    callbacks: Annotated[dict[str, int], Meta(description="callbacks, by verdict")]
    records: Annotated[int, Meta(description="records of the chain, this one included")]


class Chained(Struct, tag_field="event", kw_only=True):
    """What every record of a room has."""

    time: Annotated[str, Meta(description="when it was concluded, by the worker's clock")]
    room_sid: Annotated[
        str,
        Meta(
            description="the room; an AccountSid for what names no room, `shard-N` for what cannot"
            " be read"
        ),
    ]
    n: Annotated[int, Meta(description="its number in the chain of its room, from 1")]
    prev: Annotated[str, Meta(description="`hash` of the record before; empty in the first")]
    hash: Annotated[str, Meta(description="SHA-256 over the record without this and `signature`")]
    basis: Annotated[str, Meta(description="fingerprint of the terms it was concluded on")]
    terms: Annotated[
        Terms | UnsetType,
        Meta(description="these terms, in the first record of a room and wherever they change"),
    ] = UNSET
    shard: Annotated[int, Meta(description="the shard that was drained")]
    task_id: Annotated[
        str | UnsetType | None,
        Meta(
            description="the Celery task that began the round of this and other shards, whichever"
            " it named; null where the sweep drained the shard itself"
        ),
    ] = UNSET
    worker: Annotated[str | UnsetType, Meta(description="host and process")] = UNSET
    revision_before: Annotated[int, Meta(description="the room's revision before")]
    revision: Annotated[int, Meta(description="and after: one more for each event")]
    events: Annotated[
        list[str],
        Meta(
            description="ids of the derived events that came of it; where names are hashed, without"
            " their last part, which is a digest over the names too"
        ),
    ]
    alerts: Annotated[
        list[str], Meta(description="ids of the alerts that came of it, written likewise")
    ]
    digests: Annotated[
        list[str] | UnsetType,
        Meta(
            description="where names are hashed: for each of these events, then alerts, 16 hex"
            " digits over its content with the names hashed"
        ),
    ] = UNSET
    reasons: Annotated[
        list[dict[str, Any]], Meta(description="why, as data: objects with a word `why`, see below")
    ]


class CallbackRecord(Chained, kw_only=True):
    """What a record of a callback has as well."""

    entry_id: Annotated[str, Meta(description="its entry in the inbox")]
    arrived: Annotated[str, Meta(description="when it was received, by Redis's clock")]
    taken_at: Annotated[
        str | UnsetType,
        Meta(
            description="the arrival time it was given, where Redis's clock had been set back since"
            " the room was looked at"
        ),
    ] = UNSET
    params: Annotated[
        dict[str, str] | None,
        Meta(description="the parameters as received; null where they cannot be read"),
    ]
    idempotency_token: Annotated[
        str, Meta(description="the header I-Twilio-Idempotency-Token, empty without one")
    ]
    callback_id: Annotated[
        str | None,
        Meta(
            description="what `evidence` names it by: the first 16 hex digits of the SHA-256 over"
            " its parameters as they were received, or, where names are hashed, of an HMAC of that;"
            " null where they cannot be read"
        ),
    ]
    late: Annotated[
        bool, Meta(description="it happened more than 5 s before the latest that was known")
    ]


class CallbackApplied(CallbackRecord, kw_only=True, tag=RECORDS["applied"]):
    """The facts have changed."""


class CallbackDuplicate(CallbackRecord, kw_only=True, tag=RECORDS["duplicate"]):
    """They have not: everything in it was known."""


class CallbackTooLate(CallbackRecord, kw_only=True, tag=RECORDS["too-late"]):
    """It is about what was let go."""


class CallbackUnrecognised(CallbackRecord, kw_only=True, tag=RECORDS["unrecognised"]):
    """Its event is unknown; it is passed on."""


class CallbackSetAside(CallbackRecord, kw_only=True, tag=RECORDS["set-aside"]):
    """It could not be digested, and is in the stream of the dead as well."""

    reason: Annotated[str, Meta(description="the fault, as a word")]
    detail: Annotated[str, Meta(description="the fault, as a sentence")]
    entry: Annotated[
        dict[str, str],
        Meta(description="the fields of its inbox entry as they lay there, in base64"),
    ]
    key: Annotated[str, Meta(description="the same for a repetition of it")]
    noted: Annotated[
        bool, Meta(description="whether the room could take note of it; false: the heart failed")
    ]


class TimerElapsed(Chained, kw_only=True, tag=TIMER):
    """Time alone has changed what is believed."""

    due: Annotated[str, Meta(description="when it was due: the time of its events")]
    stalled_since: Annotated[
        str | UnsetType,
        Meta(
            description="of a shard: since when its oldest callback had waited at `due`; there is a"
            " record each time that is found, whether anything is published or not"
        ),
    ] = UNSET


class RoomSettled(Chained, kw_only=True, tag=SETTLED):
    """The closing record: no more is expected of the room, and this is what it has come to.

    Whatever still arrives is recorded after it, and followed by another closing record: at once
    where nothing changes by it, else when the room is quiet again. More is always expected of an
    account or a shard: where records are signed, one follows each record of theirs.
    """

    totals: Annotated[Totals, Meta(description="what the room has come to")]
    key_id: Annotated[
        str | UnsetType,
        Meta(description="the first 16 hex digits of the SHA-256 over the public key, if signed"),
    ] = UNSET
    signature: Annotated[
        str | UnsetType,
        Meta(description="Ed25519 over the 64 hex digits of `hash`, in base64, if signed"),
    ] = UNSET


class WorkerStarted(Struct, tag_field="event", tag=STARTED, kw_only=True):
    """In no chain: a worker says on which terms it concludes."""

    time: Annotated[str, Meta(description="when it started")]
    process: Annotated[str, Meta(description="`worker`")]
    pid: Annotated[int, Meta(description="its process id")]
    basis: Annotated[str, Meta(description="fingerprint of the terms")]
    terms: Annotated[Terms, Meta(description="the terms")]
    key_id: Annotated[
        str | None, Meta(description="which key closing records are signed with; null for none")
    ]


RoomRecord = (
    CallbackApplied
    | CallbackDuplicate
    | CallbackTooLate
    | CallbackUnrecognised
    | CallbackSetAside
    | TimerElapsed
    | RoomSettled
)


def basis_of(terms: Terms) -> str:
    """Work out the fingerprint of terms: 16 hex digits."""
    return sha256(canonical(msgspec.to_builtins(terms))).hexdigest()[:16]
