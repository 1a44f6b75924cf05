"""Random histories of one room, in Twilio's words: parameters as they would pass the door.

Times cluster around the bounds that verdicts are made with, so that ties, touching sessions and
contradictions come up often. Much of it is nonsense that Twilio would never send; the laws of the
heart hold all the same.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

ACCOUNT = "AC" + "0" * 32
ROOM = "RM" + "1" * 32
IDENTITIES = ("Dana", "Dana ", "Night  Nurse")
# Milliseconds around the bounds: 250 ms before, 15 s after, 1 s around the room's end, 5 s late.
STEPS = (0, 1, 249, 250, 251, 999, 1000, 1001, 4999, 5001, 14_999, 15_000, 15_001, 600_000)
START = 1_692_043_400_000

EVENTS_OF_SESSIONS = ("participant-connected", "participant-disconnected")
EVENTS_OF_TRACKS = ("track-added", "track-removed", "track-enabled", "track-disabled")


def sid(prefix: str, number: int) -> str:
    return f"{prefix}{number:032x}"


def timestamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds - START // 1000, 60)
    return f"2023-08-14T{20 + minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{rest:03d}Z"


@st.composite
def times(draw: st.DrawFn) -> str:
    return timestamp(START + sum(draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=3))))


@st.composite
def callbacks(draw: st.DrawFn) -> dict[str, str]:
    """One callback of any kind that the door accepts."""
    make = draw(st.sampled_from((_session, _session, _session, _track, _track, _room, _other)))
    params: dict[str, str] = {
        "AccountSid": ACCOUNT,
        "RoomSid": ROOM,
        "Timestamp": draw(times()),
        **make(draw),
    }
    if draw(st.booleans()):
        params["SequenceNumber"] = str(draw(st.integers(0, 30)))
    if draw(st.booleans()):
        params["RoomName"] = draw(st.sampled_from(("Room 1", "Room 1 ")))
    return params


def _room(draw: Any) -> dict[str, str]:
    if draw(st.booleans()):
        return {"StatusCallbackEvent": "room-created"}
    return {"StatusCallbackEvent": "room-ended", **draw(_duration("RoomDuration"))}


def _session(draw: Any) -> dict[str, str]:
    number = draw(st.integers(0, 4))
    params = {
        "StatusCallbackEvent": draw(st.sampled_from(EVENTS_OF_SESSIONS)),
        "ParticipantSid": sid("PA", number),
        # Sessions 0 and 1 and 2 share an identity; 3 is told contradictory ones.
        "ParticipantIdentity": IDENTITIES[draw(st.integers(0, 2)) if number == 3 else number // 3],
    }
    if params["StatusCallbackEvent"] == "participant-disconnected":
        params |= draw(_duration("ParticipantDuration"))
    return params


def _track(draw: Any) -> dict[str, str]:
    session = _session(draw)
    session.pop("ParticipantDuration", None)
    return session | {
        "StatusCallbackEvent": draw(st.sampled_from(EVENTS_OF_TRACKS)),
        "TrackSid": sid("MT", draw(st.integers(0, 2))),
        "TrackKind": draw(st.sampled_from(("audio", "video", "hologram"))),
        "TrackName": "camera",
    }


def _other(draw: Any) -> dict[str, str]:
    return draw(
        st.sampled_from(
            (
                {"StatusCallbackEvent": "recording-started", "RecordingSid": sid("RT", 1)},
                {"StatusCallbackEvent": "recording-failed", "RecordingSid": sid("RT", 1)},
                {
                    "StatusCallbackEvent": "composition-progress",
                    "CompositionSid": sid("CJ", 1),
                    "PercentageDone": "40",
                },
                {"StatusCallbackEvent": "composition-hook-failed", "HookSid": sid("HK", 1)},
                {"StatusCallbackEvent": "room-created", "Brand": "new"},
                {"StatusCallbackEvent": "participant-reconnecting", "ParticipantSid": "PA?"},
            )
        )
    )


def _duration(name: str) -> st.SearchStrategy[dict[str, str]]:
    return st.sampled_from(({}, {name: "0"}, {name: "1"}, {name: "15"}, {name: "601"}))


histories = st.lists(callbacks(), max_size=16)


@st.composite
def retellings(draw: st.DrawFn) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """A history, and the same callbacks in another order with some of them repeated."""
    history = draw(histories)
    again = draw(st.lists(st.sampled_from(history), max_size=4)) if history else []
    return history, draw(st.permutations([*history, *again]))
