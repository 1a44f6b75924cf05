"""What was published and did not stay: alerts until resolved, evictions taken back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from console.audit.rebuild import Published
from console.audit.story import Alarm, Span, Withdrawn


def withdrawn(published: Iterable[Published]) -> Iterator[Withdrawn]:
    """Find the evictions that were taken back."""
    since: dict[str, int] = {}
    for one in published:
        data = one.event.data
        if one.event.kind == "participant.evicted":
            since[one.event.subject] = one.when
        elif one.event.kind == "participant.eviction-retracted":
            yield Withdrawn(
                identity=data["identity"],
                evicted_sid=data["evicted_sid"],
                survivor_sid=data["survivor_sid"],
                believed=Span(since.get(one.event.subject, one.when), one.when),
            )


def alarms(published: Iterable[Published]) -> list[Alarm]:
    """Put what was said of each alert together."""
    found: list[Alarm] = []
    under_way: dict[str, int] = {}
    for one in published:
        kind, data = one.event.kind, one.event.data
        if not kind.startswith("alert."):
            continue
        key = data["dedup_key"]
        if kind == "alert.raised":
            under_way[key] = len(found)
            found.append(_alarm(one))
        elif key in under_way:
            index = under_way[key]
            was = found[index]
            if kind == "alert.resolved":
                found[index] = was._replace(resolved=one.when)
                del under_way[key]
            else:
                worse = _alarm(one)
                found[index] = worse._replace(raised=was.raised)
    return found


def _alarm(one: Published) -> Alarm:
    event = one.event
    return Alarm(
        name=event.data["alert"],
        severity=event.data["severity"],
        summary=event.data["summary"],
        identity=event.data.get("identity"),
        times=event.data["count"],
        raised=one.when,
        resolved=None,
        n=one.n,
    )
