"""A derived event or an alert as one line for a person. Pure; it knows nothing of Redis or colour.

Identities and names are raw text from strangers: whatever a terminal might obey is escaped.
Fields that are missing or of another shape never stop a line from being made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Data = Mapping[str, Any]


def sentence(fields: Mapping[str, str]) -> str:
    """Make the line: when, in which room, who, and what happened.

    Args:
        fields: the attributes of a CloudEvent, as the stream keeps them.
    """
    data = _data(fields)
    name = fields.get("type", "").removeprefix("rollcall.")
    tell = _TELL.get(name, _tell_by_family(name))
    when = fields.get("time", "")[11:23] or "(no time)"
    room = data.get("room_name") or fields.get("roomsid") or "(no room)"
    return printable(f"{when}  {room}   {tell(data)}")


def printable(text: str) -> str:
    """Escape what does not simply show: control characters, and those that turn or hide text."""
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _data(fields: Mapping[str, str]) -> Data:
    try:
        data = json.loads(fields.get("data", "{}"))
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _who(data: Data) -> str:
    identity = data.get("identity")
    return str(data.get("participant_sid") or "somebody" if identity is None else identity)


def _by(what: str) -> Callable[[Data], str]:
    return lambda data: f"{_who(data)}  {what}"


def _joined(data: Data) -> str:
    inferred = "  (inferred: no connect callback yet)" if data.get("inferred") else ""
    return f"{_who(data)}  joined{inferred}"


def _left(data: Data) -> str:
    cause = data.get("cause", "disconnected")
    why = "" if cause == "disconnected" else f"  ({cause})"
    return f"{_who(data)}  left{_after(data)}{why}"


def _after(data: Data) -> str:
    seconds = data.get("duration_seconds")
    return "" if seconds is None else f" after {seconds} s"


def _closed(data: Data) -> str:
    return f"closed{_after(data)}  ({data.get('end', 'end unknown')})"


def _evicted(data: Data) -> str:
    return (
        f"{_who(data)}  evicted, as the same identity joined again  ({data.get('evicted_sid', '?')}"
        f" by {data.get('survivor_sid', '?')}, gap {data.get('gap_ms', '?')} ms)"
    )


def _contested(data: Data) -> str:
    sessions = data.get("participant_sids")
    count = len(sessions) if isinstance(sessions, list) else "several"
    return f"{_who(data)}  connected {count} times at once"


def _track(what: str) -> Callable[[Data], str]:
    def tell(data: Data) -> str:
        cause = data.get("cause", "removed")
        why = "" if cause == "removed" else f"  ({cause})"
        return f"{_who(data)}  {what} {data.get('kind') or 'track'}{why}"

    return tell


def _recording(what: str) -> Callable[[Data], str]:
    return lambda data: f"{_who(data)}  recording {what}  ({data.get('recording_sid', '?')})"


def _composition(what: str) -> Callable[[Data], str]:
    def tell(data: Data) -> str:
        done = data.get("percentage_done")
        percent = "" if done is None else f" {done} %"
        return f"composition {what}{percent}  ({data.get('composition_sid') or 'no SID'})"

    return tell


def _gap(what: str) -> Callable[[Data], str]:
    return lambda data: f"{what}: sequence numbers {json.dumps(data.get('missing'))}"


def _alert(what: str) -> Callable[[Data], str]:
    def tell(data: Data) -> str:
        severity, name = data.get("severity", "?"), data.get("alert", "?")
        return f"ALERT {what}  {severity} {name}: {data.get('summary', '')}"

    return tell


def _tell_by_family(name: str) -> Callable[[Data], str]:
    """Tell of an event that has no row below, so that a newer Rollcall's can be read, too."""
    family, _, rest = name.partition(".")
    if family == "composition":
        return _composition(rest)
    return lambda data: f"{name or '(no type)'}  {json.dumps(data, ensure_ascii=False)}"


_TELL: dict[str, Callable[[Data], str]] = {
    "room.opened": lambda data: f"opened  ({data.get('room_type') or 'type unknown'})",
    "room.closed": _closed,
    "room.settled": lambda _: "settled: nothing more is expected",
    "room.gap-found": _gap("callbacks missing"),
    "room.gap-closed": _gap("callbacks no longer missing"),
    "participant.joined": _joined,
    "participant.left": _left,
    "participant.evicted": _evicted,
    "participant.eviction-retracted": _by("was not evicted after all"),
    "identity.arrived": _by("arrived"),
    "identity.departed": _by("departed"),
    "identity.contested": _contested,
    "identity.uncontested": _by("connected once again"),
    "track.published": _track("published"),
    "track.unpublished": _track("unpublished"),
    "track.enabled": _track("unmuted"),
    "track.disabled": _track("muted"),
    "recording.started": _recording("started"),
    "recording.completed": _recording("completed"),
    "recording.failed": _recording("FAILED"),
    "callback.unrecognised": lambda data: f"a callback not known here: {data.get('event', '?')}",
    "alert.raised": _alert("raised"),
    "alert.changed": _alert("changed"),
    "alert.resolved": _alert("resolved"),
}
