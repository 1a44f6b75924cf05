"""The targets of alerts: what each URL of ROLLCALL_ALERT_TARGETS stands for. Sends nothing.

A URL may hold secrets. So a target is called by its scheme and a short hash, in the log and in
Redis, and no error quotes what stood in the setting.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from schemas.errors import BadSettingError

SETTING = "ROLLCALL_ALERT_TARGETS"

Kind = Literal["alertmanager", "webhook", "apprise"]

# Those that Rollcall speaks itself, and how; any other scheme is left to Apprise.
_OWN: dict[str, tuple[Kind, str]] = {
    "alertmanager": ("alertmanager", "http"),
    "alertmanagers": ("alertmanager", "https"),
    "webhook": ("webhook", "http"),
    "webhooks": ("webhook", "https"),
}
# Logs and keys show it.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://")
_SECRET = "whsec_"  # noqa: S105  # how every signing secret begins, not one of them
# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md:
# "Random. Between 24 bytes (192 bits) and 64 bytes (512 bits)".
_LEAST_SECRET, _MOST_SECRET = 24, 64
# A slash in a secret ends the host, for every reader of URLs.
_UNREADABLE = "has a host or port that cannot be read; percent-encode the / + = of a secret"


@dataclass(frozen=True, slots=True)
class AlertTarget:
    """Where alerts go."""

    kind: Kind
    # What the log and the keys of Redis call it.
    name: str
    # Where to send, without the signing secrets.
    url: str = field(repr=False)
    # Of a webhook. Several while one is being replaced: each gives a signature of its own.
    secrets: tuple[str, ...] = field(default=(), repr=False)


def read_targets(text: str) -> tuple[AlertTarget, ...]:
    """Read the targets, separated by white space.

    Whether Apprise understands a URL is for those to find out who load it: that takes a while.

    Raises:
        BadSettingError: says which of them cannot be used, by its place.
    """
    targets = tuple(_read(url, place) for place, url in enumerate(text.split(), start=1))
    for place, target in enumerate(targets, start=1):
        if target.name in [other.name for other in targets[: place - 1]]:
            _refuse(place, "is there twice")
    return targets


def _read(url: str, place: int) -> AlertTarget:
    found = _SCHEME.match(url)
    if not found:
        _refuse(place, "does not begin with a scheme like slack://, alertmanager:// or webhooks://")
    scheme = found[1].lower()
    if scheme not in _OWN:
        return AlertTarget("apprise", _named(scheme, url), url)
    parts = _parts(url, place)
    if parts.fragment:
        _refuse(place, "has a fragment, which is never sent")
    if _OWN[scheme][0] == "alertmanager":
        return _alertmanager(scheme, parts, place)
    return _webhook(scheme, parts, place)


def _alertmanager(scheme: str, parts: SplitResult, place: int) -> AlertTarget:
    if parts.query:
        _refuse(place, "has a query; an Alertmanager has a host, a port and a path prefix")
    path = parts.path.rstrip("/")
    url = f"{_OWN[scheme][1]}://{parts.netloc}{path}/api/v2/alerts"
    # Without the password: a target whose password was changed is still the same.
    return AlertTarget("alertmanager", _named(scheme, _host(parts) + path), url)


def _webhook(scheme: str, parts: SplitResult, place: int) -> AlertTarget:
    user = unquote(parts.username or "")
    in_front = user.startswith(_SECRET)
    secrets = [user] if in_front else []
    rest = []
    for pair in filter(None, parts.query.split("&")):
        name, _, value = pair.partition("=")
        if name == "secret":
            # In Base64 a plus is a plus.
            secrets.append(unquote(value))
        else:
            rest.append(pair)
    if not secrets:
        _refuse(place, f"has no signing secret; give {_SECRET}... as its user or ?secret={_SECRET}")
    if not all(_is_secret(secret) for secret in secrets):
        _refuse(place, f"needs {_SECRET} and the Base64 of 24 to 64 bytes as its secret")
    host = _host(parts) if in_front else parts.netloc
    where = parts.path + ("?" + "&".join(rest) if rest else "")
    # The name leaves the secrets out: a target whose secret was replaced is still the same.
    return AlertTarget(
        "webhook",
        _named(scheme, _host(parts) + where),
        f"{_OWN[scheme][1]}://{host}{where}",
        tuple(secrets),
    )


def _is_secret(text: str) -> bool:
    try:
        key = b64decode(text.removeprefix(_SECRET), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(_SECRET) and _LEAST_SECRET <= len(key) <= _MOST_SECRET


def _parts(url: str, place: int) -> SplitResult:
    try:
        parts = urlsplit(url)
        # The library reads the port only when asked.
        _ = parts.port
    except ValueError:
        _refuse(place, _UNREADABLE)
    if not parts.hostname or parts.hostname.startswith(_SECRET):
        _refuse(place, _UNREADABLE)
    return parts


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _named(scheme: str, where: str) -> str:
    return f"{scheme}-{sha256(f'{scheme}://{where}'.encode()).hexdigest()[:8]}"


def _refuse(place: int, why: str) -> NoReturn:
    # No other error is shown beside it, since that might hold the URL.
    raise BadSettingError(f"{SETTING}: number {place} of them {why}.") from None
