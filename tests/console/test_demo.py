"""The demo's scenes: valid callbacks in the sender's own encoding, with fresh SIDs each play."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from twilio.request_validator import RequestValidator

from console.demo import SCENES, Scene, load, send
from schemas.reading import check
from schemas.settings import Settings

RECORDED, EVICTION = SCENES
ACCOUNT = "AC" + "0" * 32
_SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")


@pytest.fixture(params=SCENES, ids=lambda scene: scene.file)
def scene(request: pytest.FixtureRequest) -> Scene:
    return request.param


def test_every_callback_is_valid_and_of_one_room(scene: Scene) -> None:
    played = load(scene)
    for callback in played:
        check(callback["params"])
    assert len({callback["params"]["RoomSid"] for callback in played}) == 1
    assert len({callback["params"]["AccountSid"] for callback in played}) == 1


def test_bodies_are_the_parameters_in_the_sender_s_encoding(scene: Scene) -> None:
    for callback in load(scene):
        told = [f"{name}={quote(value, safe='')}" for name, value in callback["params"].items()]
        assert callback["body"] == "&".join(told)


def test_the_made_scene_has_the_order_of_parameters_that_was_recorded() -> None:
    recorded = {
        callback["params"]["StatusCallbackEvent"]: list(callback["params"])
        for callback in load(RECORDED)
    }
    for callback in load(EVICTION):
        event = callback["params"]["StatusCallbackEvent"]
        if event in recorded:
            assert list(callback["params"]) == recorded[event]


def test_sequence_numbers_of_the_made_scene_have_no_hole() -> None:
    numbers = sorted(int(callback["params"]["SequenceNumber"]) for callback in load(EVICTION))
    assert numbers == list(range(13))


def test_every_play_has_fresh_sids_of_the_same_shape_alike_in_every_place(scene: Scene) -> None:
    one, two = load(scene), load(scene)
    sids, others = (_SID.findall(json.dumps(play)) for play in (one, two))
    assert not set(sids) & set(others)
    # Alike in every place: one to one, wherever they stand.
    assert len(set(zip(sids, others, strict=True))) == len(set(sids)) == len(set(others))


def test_an_account_that_alone_is_accepted_is_used(scene: Scene) -> None:
    assert {callback["params"]["AccountSid"] for callback in load(scene, ACCOUNT)} == {ACCOUNT}


def test_recorded_lines_of_other_rooms_stay_out() -> None:
    assert len(load(RECORDED)) == 18


class _Door(BaseHTTPRequestHandler):
    status = 204

    def do_POST(self) -> None:
        heard = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.heard.append((dict(self.headers), heard))  # type: ignore[attr-defined]
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def door() -> Any:
    with HTTPServer(("127.0.0.1", 0), _Door) as server:
        server.heard = []  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("public_url", [None, "https://rollcall.example/twilio"])
def test_what_is_sent_bears_a_valid_signature(
    settings: Settings, door: Any, public_url: str | None
) -> None:
    aimed = Settings(
        redis_url=settings.redis_url,
        celery_broker_url=settings.redis_url,
        auth_tokens=("first", "second"),
        public_url=public_url,
        port=door.server_port,
    )
    callback = load(RECORDED)[10]
    assert send(callback, aimed) == "204"
    [(headers, body)] = door.heard
    signed = (public_url or f"http://{headers['host']}") + "/callbacks"
    params = dict(parse_qsl(body, strict_parsing=True))
    assert params == callback["params"]
    assert RequestValidator("first").validate(signed, params, headers["x-twilio-signature"])
    assert headers["host"] == f"localhost:{door.server_port}"
    assert (
        headers["i-twilio-idempotency-token"] != callback["headers"]["i-twilio-idempotency-token"]
    )


def test_a_door_that_does_not_answer_is_said(settings: Settings, unused_port: int) -> None:
    aimed = Settings(
        redis_url=settings.redis_url,
        celery_broker_url=settings.redis_url,
        auth_tokens=("first",),
        port=unused_port,
    )
    assert "no answer" in send(load(EVICTION)[0], aimed)
