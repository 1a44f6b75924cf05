"""Random histories of one room, in Twilio's words: parameters as they would pass the door.

Times cluster around the bounds that verdicts are made with, so that ties, touching sessions and
contradictions come up often. Much of it is nonsense that Twilio would never send; the laws of the
heart hold all the same.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from schemas.callbacks import SCHEMAS

ACCOUNT = "AC" + "0" * 32
ROOM = "RM" + "1" * 32
# Sessions 0, 1 and 2 are Dana's, 4 and 5 those of a person without a name.
IDENTITIES = ("Dana", "Dana ", "")
# Milliseconds around the bounds: 250 ms before, 15 s after, 1 s around the room's end, 5 s late.
STEPS = (0, 1, 249, 250, 251, 999, 1000, 1001, 4999, 5001, 14_999, 15_000, 15_001, 600_000)
# 2023-08-14T20:00:00Z.
START = 1_692_043_200_000

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
        **draw(_maybe("SequenceNumber", "many", *map(str, range(16)))),
        **draw(_maybe("RoomName", "Room 1", "Room 1 ", "")),
        **draw(_maybe("RoomType", "group", "go")),
        **draw(_maybe("RoomStatus", "in-progress", "failed")),
    }
    if params["StatusCallbackEvent"] not in SCHEMAS and draw(st.booleans()):
        # Nothing was promised about an event that nobody knows.
        del params["Timestamp"]
    return params


def _room(draw: Any) -> dict[str, str]:
    if draw(st.booleans()):
        return {"StatusCallbackEvent": "room-created"}
    return {"StatusCallbackEvent": "room-ended", **draw(_duration("RoomDuration"))}


def _session(draw: Any) -> dict[str, str]:
    return {
        "StatusCallbackEvent": draw(st.sampled_from(EVENTS_OF_SESSIONS)),
        **_who(draw),
        **draw(_duration("ParticipantDuration")),
    }


def _track(draw: Any) -> dict[str, str]:
    return {
        "StatusCallbackEvent": draw(st.sampled_from(EVENTS_OF_TRACKS)),
        **_who(draw),
        **draw(_duration("ParticipantDuration")),
        # The same SIDs for all participants: a track is known by both.
        "TrackSid": sid("MT", draw(st.integers(0, 2))),
        **draw(_maybe("TrackKind", "audio", "video", "hologram")),
        **draw(_maybe("TrackName", "camera", "screen")),
    }


def _who(draw: Any) -> dict[str, str]:
    number = draw(st.integers(0, 5))
    # Session 3 is told contradictory identities.
    identity = IDENTITIES[draw(st.integers(0, 2)) if number == 3 else 2 * (number > 3)]
    return {
        "ParticipantSid": sid("PA", number),
        # Mostly told; where it is not, another callback may tell it.
        **draw(st.sampled_from(({"ParticipantIdentity": identity},) * 4 + ({},))),
    }


def _other(draw: Any) -> dict[str, str]:
    return draw(
        st.sampled_from(
            (
                # A recording tells of a session, but makes none known.
                {"StatusCallbackEvent": "recording-started", **_RECORDING},
                {"StatusCallbackEvent": "recording-completed", **_RECORDING, "Duration": "9"},
                {"StatusCallbackEvent": "recording-failed", "RecordingSid": sid("RT", 1)},
                *(
                    {
                        "StatusCallbackEvent": "composition-progress",
                        "CompositionSid": sid("CJ", 1),
                        **done,
                    }
                    for done in ({"PercentageDone": "40"}, {"PercentageDone": "50"}, {})
                ),
                *(
                    {"StatusCallbackEvent": f"composition-{what}", "CompositionSid": sid("CJ", 1)}
                    for what in ("enqueued", "started", "available", "failed")
                ),
                {"StatusCallbackEvent": "composition-hook-failed", "HookSid": sid("HK", 1)},
                {"StatusCallbackEvent": "room-created", "Brand": "new"},
                {"StatusCallbackEvent": "participant-reconnecting", "ParticipantSid": "PA?"},
                {
                    "StatusCallbackEvent": "participant-reconnected",
                    "ParticipantSid": sid("PA", 0),
                    "ParticipantIdentity": IDENTITIES[0],
                    "ParticipantDuration": "many",
                },
            )
        )
    )


_RECORDING = {
    "RecordingSid": sid("RT", 1),
    "ParticipantSid": sid("PA", 0),
    "ParticipantIdentity": "somebody else",
    "SourceSid": sid("MT", 1),
}


def _duration(name: str) -> st.SearchStrategy[dict[str, str]]:
    return _maybe(name, "0", "1", "14", "15", "601", "86400")


def _maybe(name: str, *values: str) -> st.SearchStrategy[dict[str, str]]:
    return st.sampled_from(({}, {}, *({name: value} for value in values)))


@st.composite
def takeovers(draw: st.DrawFn) -> list[dict[str, str]]:
    """Sessions of one person whose ends and starts nearly meet, shuffled, and some others."""
    history = draw(st.lists(callbacks(), max_size=3))
    start = 1_000
    for number in range(draw(st.integers(2, 5))):
        who = {
            "AccountSid": ACCOUNT,
            "RoomSid": ROOM,
            "ParticipantSid": sid("PA", number),
            "ParticipantIdentity": IDENTITIES[0],
        }
        history.append(
            who
            | {
                "StatusCallbackEvent": draw(
                    st.sampled_from(("participant-connected", "track-added"))
                )
            }
            | {"TrackSid": sid("MT", 0), "Timestamp": timestamp(START + start)}
        )
        start += draw(st.sampled_from((1_000, 20_000, 60_000, 600_000)))
        end = start + draw(st.sampled_from((-251, -250, 0, 1, 300, 15_000, 15_001)))
        history.append(
            who
            | {"StatusCallbackEvent": "participant-disconnected"}
            | {"Timestamp": timestamp(START + end)}
            | draw(_duration("ParticipantDuration"))
        )
    return draw(st.permutations(history))


histories = st.lists(callbacks(), max_size=16) | takeovers()


@st.composite
def retellings(draw: st.DrawFn) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """A history, and the same callbacks in another order with some of them repeated."""
    history = draw(histories)
    again = draw(st.lists(st.sampled_from(history), max_size=4)) if history else []
    return history, draw(st.permutations([*history, *again]))
