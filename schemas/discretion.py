"""Discretion: what is left out of log lines where identities and names must not be in them.

Audit records have pseudonyms; other lines tell what went wrong, and a message may quote anything.
"""

from __future__ import annotations

import traceback
from typing import Any

from structlog.typing import EventDict, ExcInfo

# Of an exception that was raised because of another, and so on.
_MOST_CAUSES = 5


def without_details(_logger: Any, _method: str, record: EventDict) -> EventDict:
    """Withhold what may quote a name, or let somebody guess at one.

    What others answered: a chat service may quote the alert that it was sent. What errors say: the
    class is kept. And the last part of an alert's id, which is a digest over its content.
    """
    if "detail" in record:
        record["detail"] = "withheld"
    if isinstance(alerts := record.get("alerts"), list):
        record["alerts"] = [one.rpartition(":")[0] for one in alerts]
    for name, said in record.items():
        if isinstance(said, BaseException) and name != "exc_info":
            record[name] = type(said).__name__
    return record


def errors_in_words(_logger: Any, _method: str, record: EventDict) -> EventDict:
    """Write errors among what is logged as what they say."""
    for name, said in record.items():
        if isinstance(said, BaseException) and name != "exc_info":
            record[name] = str(said)
    return record


def unfilled(_logger: Any, _method: str, record: EventDict) -> EventDict:
    """Give a library's message as it stands in its source, without what it would put into it."""
    record["event"] = str(record["_record"].msg)
    return record


def frames_alone(exc_info: ExcInfo) -> str:
    """Write an exception and its causes down without their messages."""
    told: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None and len(told) < _MOST_CAUSES:
        frames = "".join(traceback.format_tb(error.__traceback__))
        told.append(f"{frames}{type(error).__name__}")
        error = error.__cause__ or error.__context__
    return "\n".join(told)
