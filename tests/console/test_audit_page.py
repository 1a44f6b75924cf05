"""The page of `rollcall audit explain --html`: whole in itself, and safe whatever a log says."""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from audit_logs import STORM
from audit_sample import DOCUMENT, Sent, document, log_of, storm

from console.audit.explain import explain

HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</title></svg></style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp; &#60;",
    "\u202egnirts desrever\u202c",
    "שלום עולם",
    "line one\nline two\t\x00\x1b[31m",
    "👩\u200d💻🎉",
    " spaces at both ends ",
    "x" * 4_000,
]

# What a page may refer to: its own parts, and nothing beside.
_REFERRING = {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}
_VOID = {"meta", "link", "br", "img", "input", "hr"}


class Read(HTMLParser):
    """What a browser would find on a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name in _REFERRING:
                self.references.append(str(value))
            elif name.startswith("on") or name == "style":
                self.handlers.append(name)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(log: bytes, room: str, tmp_path: Path, at: str | None = None) -> str:
    path = tmp_path / "worker.log"
    path.write_bytes(log)
    page = tmp_path / "page.html"
    explain(room, [str(path)], identity=None, moment=at, page=page)
    return page.read_text(encoding="utf-8")


def with_name(name: str) -> bytes:
    """The storm, in which everything that anybody may call something is called so."""
    called = {"ParticipantIdentity": name, "TrackName": name, "RoomName": name, "TrackKind": name}
    return log_of(
        Sent(one.params | {key: called[key] for key in one.params if key in called}, one.arrives)
        for one in storm()
    )


def test_the_sample_in_the_documents_is_what_comes_out_now() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run `make sample-audit`"


def test_the_page_needs_nothing_but_itself() -> None:
    read = Read(DOCUMENT.read_text(encoding="utf-8"))
    assert read.open == []
    assert all(one.startswith("#") for one in read.references)
    assert {one[1:] for one in read.references} <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))
    assert not re.search(r"url\((?!#)|@import|https?:", DOCUMENT.read_text(encoding="utf-8"))


def test_only_the_script_that_is_meant_may_run() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src 'none';")
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    for text in (script, style):
        digest = sha256(text.encode()).digest()
        assert f"'sha256-{b64encode(digest).decode()}'" in policy


def test_a_moment_that_was_asked_about_is_answered_without_a_script(tmp_path: Path) -> None:
    page = page_of(STORM, "Team Room", tmp_path, at="20:01:00")
    answer = page.partition("Who was there at 2023-08-14 20:01:00.000")[2].partition("</section>")[
        0
    ]
    assert re.findall(r'<bdi class="raw">(\w+)</bdi>, session (\d)', answer) == [
        ("Kim", "1"),
        ("Dana", "3"),
    ]


def test_every_session_has_its_lane_and_every_eviction_its_arrow(tmp_path: Path) -> None:
    page = page_of(STORM, "Team Room", tmp_path)
    assert page.count('<g class="stay"') == 8
    assert page.count('<g class="arrow">') == 5
    assert page.count('class="bar evicted"') == 5
    # Each tells the callbacks behind it.
    assert page.count("threw out session") == 5
    assert "participant-disconnected of PA" in page


def test_every_tooltip_can_be_reached_by_keyboard_and_has_its_text_for_a_name() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    tips = re.findall(r'<(a|g) class="tip"([^>]*)>(<title>.+?</title>)?', page, re.DOTALL)
    # The page has a title too.
    assert len(tips) == page.count("<title>") - 1 == 45
    assert all(title for _, _, title in tips)
    # A link is reached anyhow; what has no record behind it says that it is an image.
    others = Counter(attributes for tag, attributes, _ in tips if tag == "g")
    # Three gaps, each shaded for every person and told once, and two beginnings that nobody heard.
    assert others == {' tabindex="0" role="img"': 5, ' aria-hidden="true"': 5}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_people_call_themselves_is_shown_and_never_obeyed(name: str, tmp_path: Path) -> None:
    plain = Read(page_of(with_name("plain"), "plain", tmp_path))
    read = Read(page_of(with_name(name), name, tmp_path))
    assert read.tags == plain.tags
    assert read.handlers == []
    assert read.open == []
    assert all(one.startswith("#") for one in read.references)
    page = "".join(read.text)
    assert not {"\u202e", "\x00", "\x1b"} & set(page)
    shown = re.sub(r"[^\x20-\x7e\u0590-\u05ff]", "", name)[:20]
    assert shown[:8] in page
