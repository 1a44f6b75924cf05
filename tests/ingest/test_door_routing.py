"""The door's Flask: it routes, hooks and answers as Flask does, and remembers how it routed."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, Request, g, request, session, url_for
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from ingest.door import Door

TOLD = st.fixed_dictionaries(
    {
        "REQUEST_METHOD": st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "DELETE", "post"]),
        "wsgi.url_scheme": st.sampled_from(["http", "https"]),
        "SERVER_NAME": st.sampled_from(["10.0.0.1", "::1", "b\u00fccher"]),
        "SERVER_PORT": st.sampled_from(["80", "8080"]),
    },
    optional={
        "SCRIPT_NAME": st.sampled_from(["", "/prefix"]),
        "PATH_INFO": st.sampled_from(
            [
                "",
                "/",
                "/callbacks",
                "//callbacks",
                "/callbacks/",
                "/rooms/1",
                "/rooms/x",
                "/caf\xc3",
            ]
        ),
        "QUERY_STRING": st.sampled_from(["", "a=1"]),
        "HTTP_HOST": st.sampled_from(["a.example", "A.EXAMPLE:443", "a b", "", ".", "a" * 64]),
        "HTTP_CONNECTION": st.sampled_from(["upgrade", "close"]),
        "HTTP_UPGRADE": st.just("websocket"),
    },
)


def room(number: int) -> str:
    return str(number)


def with_routes(app: Flask) -> Flask:
    app.add_url_rule("/callbacks", "callbacks", str, methods=["GET", "POST"])
    app.add_url_rule("/rooms/<int:number>/", "room", room)
    return app


FLASK = with_routes(Flask("flask", static_folder=None))
DOOR = with_routes(Door("door"))


def routed(app: Flask, environ: dict[str, Any]) -> Any:
    """What a request is routed to, where URLs are built from it, or what it is refused with."""
    try:
        adapter = app.create_url_adapter(Request({**environ}))
        assert adapter is not None
        rule, values = adapter.match(return_rule=True)
        return rule.endpoint, values, adapter.build("callbacks", force_external=True)
    except HTTPException as error:
        return type(error), error.description, dict(error.get_headers())


@given(st.lists(TOLD, min_size=1, max_size=40))
def test_every_request_is_routed_as_flask_does_whatever_came_before(
    told: list[dict[str, str]],
) -> None:
    for environ in [*told, *told]:
        assert routed(DOOR, environ) == routed(FLASK, environ)


def test_requests_that_are_alike_share_an_adapter_and_others_do_not() -> None:
    def adapter_of(host: str, client: str) -> MapAdapter | None:
        told = {"REQUEST_METHOD": "POST", "PATH_INFO": "/callbacks", "wsgi.url_scheme": "https"}
        return DOOR.create_url_adapter(Request({**told, "HTTP_HOST": host, "REMOTE_ADDR": client}))

    assert adapter_of("a", "192.0.2.1") is adapter_of("a", "192.0.2.2")
    assert adapter_of("a", "192.0.2.1") is not adapter_of("b", "192.0.2.1")


def test_what_one_request_does_to_its_arguments_is_not_found_by_the_next() -> None:
    app = with_routes(Door("door"))

    @app.url_value_preprocessor
    def take(_endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.number = (values or {}).pop("number")

    app.view_functions["room"] = lambda: str(g.number)
    client = app.test_client()
    assert [client.get("/rooms/7/").text for _ in range(3)] == ["7", "7", "7"]


def test_somebody_who_asks_for_everything_does_not_fill_the_memory() -> None:
    app = with_routes(Door("door"))
    client = app.test_client()
    for number in range(100):
        assert client.get(f"/rooms/{number}/").status_code == 200
        assert client.get(f"/{number}").status_code == 404
    assert app._adapter.cache_info().currsize == 16  # noqa: SLF001  # what nobody else is to see


def test_hooks_blueprints_error_handlers_and_url_for_work_as_in_any_flask() -> None:
    app = Door("door")
    views = Blueprint("views", __name__)

    @views.get("/rooms/<number>")
    def next_room(number: str) -> str:
        if number == "0":
            raise ZeroDivisionError
        return url_for("views.next_room", number=int(number) + 1)

    @app.before_request
    def before() -> str | None:
        return "early" if "early" in request.args else None

    @app.after_request
    def after(answer: Any) -> Any:
        answer.headers["X-After"] = request.endpoint
        return answer

    app.register_error_handler(ZeroDivisionError, lambda _: ("none", 400))
    app.register_blueprint(views, url_prefix="/v1")
    client = app.test_client()
    for _ in range(2):
        answer = client.get("/v1/rooms/1")
        assert (answer.text, answer.headers["X-After"]) == ("/v1/rooms/2", "views.next_room")
        assert client.get("/v1/rooms/1?early").text == "early"
        assert client.get("/v1/rooms/0").status_code == 400
        assert client.post("/v1/rooms/1").status_code == 405
        assert sorted(client.options("/v1/rooms/1").allow) == ["GET", "HEAD", "OPTIONS"]


def test_a_session_is_empty_and_cannot_be_written_to_as_in_any_flask_without_a_key() -> None:
    for app in (Flask("flask", static_folder=None), Door("door")):
        with app.test_request_context():
            assert session.get("who") is None
            with pytest.raises(RuntimeError, match="no secret key"):
                session["who"] = "Dana"
