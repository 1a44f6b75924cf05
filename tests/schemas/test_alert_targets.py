"""The targets of alerts: what their URLs mean, and that no secret of theirs is ever shown."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import pytest

from schemas.alert_targets import AlertTarget, read_targets
from schemas.errors import BadSettingError

KEY = b64encode(b"\xfb\xff" * 16).decode()
SECRET = f"whsec_{KEY}"
OTHER = "whsec_" + b64encode(b"another-secret-of-24-byte").decode()


def only(url: str) -> AlertTarget:
    [target] = read_targets(url)
    return target


def complaint(text: str) -> str:
    with pytest.raises(BadSettingError) as caught:
        read_targets(text)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_an_alertmanager_is_given_by_its_address() -> None:
    target = only("alertmanager://am.example:9093")
    assert (target.kind, target.url) == (
        "alertmanager",
        "http://am.example:9093/api/v2/alerts",
    )
    assert only("alertmanagers://u:p@am/x/").url == "https://u:p@am/x/api/v2/alerts"


def test_a_webhook_has_its_secret_in_front_or_as_a_parameter_and_neither_is_sent() -> None:
    assert f"{SECRET}{OTHER}".count("/") > 0
    for url in (
        f"webhooks://{quote(SECRET, safe='')}@hook.example:8443/alerts?a=1&b=%2F",
        f"webhooks://hook.example:8443/alerts?a=1&secret={SECRET}&b=%2F",
        f"webhooks://hook.example:8443/alerts?secret={quote(SECRET, safe='')}&a=1&b=%2F",
    ):
        target = only(url)
        assert target.kind == "webhook"
        assert target.url == "https://hook.example:8443/alerts?a=1&b=%2F"
        assert target.secrets == (SECRET,)
    assert only(f"webhook://u:p@h/?secret={SECRET}&secret={OTHER}").secrets == (SECRET, OTHER)
    assert only(f"webhook://u:p@h/?secret={SECRET}").url == "http://u:p@h/"


def test_anything_else_is_apprises_as_it_stands() -> None:
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?footer=no#x"
    assert only(url).url == url
    assert only(url).kind == "apprise"


def test_several_are_separated_by_white_space_of_any_kind() -> None:
    assert read_targets(" \n ") == ()
    found = read_targets(f"json://a\n\talertmanager://b  webhook://c?secret={SECRET}\n")
    assert [one.kind for one in found] == ["apprise", "alertmanager", "webhook"]


def test_a_name_shows_the_scheme_and_nothing_else_and_outlives_a_new_secret() -> None:
    target = only(f"webhooks://h/x?secret={SECRET}")
    assert target.name == only(f"webhooks://h/x?secret={OTHER}").name
    assert target.name == only(f"webhooks://{quote(OTHER, safe='')}@h/x").name
    assert target.name != only(f"webhooks://h/y?secret={SECRET}").name
    assert target.name.startswith("webhooks-")
    assert len(target.name) == len("webhooks-") + 8
    assert only("alertmanager://u:p@h").name == only("alertmanager://u:q@h").name


def test_a_target_shows_neither_its_url_nor_its_secrets() -> None:
    assert "hidden" not in repr(only("json://user:hidden@h/hidden"))
    shown = repr(only(f"webhooks://hidden@hidden/hidden?secret={SECRET}"))
    assert "hidden" not in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    "url",
    [
        "hidden",
        "://hidden",
        "{hidden}://h",
        "alertmanager://",
        "alertmanager://hidden:port",
        "alertmanager://[hidden",
        "alertmanager://h?hidden=1",
        "alertmanager://h/#hidden",
        "webhooks://hidden",
        "webhooks://hidden/?secret=hidden",
        "webhooks://h?secret=whsec_hidden",
        "webhooks://h?secret=whsec_aGlkZGVu",
        f"webhooks://h?secret={KEY}",
        f"webhooks://h?secret={SECRET}&secret=hidden",
        f"webhooks://{SECRET}@hidden/",
        f"webhooks:///hidden?secret={SECRET}",
        f"webhooks://h/?secret={SECRET}#hidden",
        "webhooks://h?secret=whsec_" + b64encode(b"x" * 65).decode(),
    ],
)
def test_what_cannot_be_used_is_named_by_its_place_and_not_shown(url: str) -> None:
    told = complaint(f"json://fine {url}")
    assert told.startswith("ROLLCALL_ALERT_TARGETS: number 2 of them ")
    assert "hidden" not in told
    assert KEY not in told


def test_the_same_target_twice_is_refused() -> None:
    twice = f"webhook://h?secret={SECRET} json://x webhook://h?secret={OTHER}"
    assert complaint(twice) == "ROLLCALL_ALERT_TARGETS: number 3 of them is there twice."
