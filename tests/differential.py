"""Our verdicts on signatures beside those of Twilio's own validator: `make door-differential`.

Requests are made from a seed. A well-formed one must get the verdict of the validator, but for what
is documented: the URL as it is, its port where there is a password or an IPv6 address (which the
validator cuts in two), and the query as Twilio's Node library writes it. Those forms are put
together here from the pieces of the URL, and not as the door does it. One that is not well-formed
must be refused, and in no other way than by a RefusedError.
"""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlencode, urlparse

import click
from twilio.request_validator import RequestValidator, remove_port
from werkzeug.datastructures import MultiDict

from ingest.signature import verify
from schemas.errors import RefusedError

TOKENS = ("a-token-of-the-tests", "12345")
OTHER_TOKEN = "somebody-else's"

_USERS = ("", "", "", "user@", "user:pass@", "u%40:p%3A@", "us:er:pass@")
_HOSTS = (
    "a.example",
    "rollcall.example",
    "127.0.0.1",
    "[::1]",
    "[2001:db8::8:443]",
    "bücher.example",
)
_PORTS = ("", "", "", ":80", ":443", ":8443", ":1", ":65535")
_PATHS = ("", "/", "/callbacks", "/p/callbacks", "/it's", "/%7Ex/%zz", "/a:b@c;v=1", "//x", "/é")
_PIECES = (
    *("a=1", "b=2", "a=2", "b", "c=", "=d", "=", "to=a@b:c", "q=it's", "q=it%27s", "x=%2f%2F"),
    *("s=a+b%20c", "p=%2B", "é=ü", "e=%C3%A9", "m=(~!*)", "u=https://x.example/?y=1", "j={[|]}"),
    *(
        "bodySHA256=0a1f",
        "1=2",
        "AccountSid=AC1",
        "\N{TELEPHONE RECEIVER}=%F0%9F%93%9E",
        "%E2%82%AC",
    ),
)
# No encoder writes these, and so the query is not written anew.
_BROKEN_PIECES = ("z=%", "z=%f", "%zz", "z=%ff", "z=%C3", "z=%ED%A0%80")
_NAMES = (
    "A",
    "AB",
    "B",
    "a",
    "AccountSid",
    "RoomSid",
    "Timestamp",
    "",
    "é",
    "a b",
    "\U0001f4de",
    "\0",
)
_VALUES = (
    "",
    "1",
    "B1",
    "AB2",
    " Visitor's Phone ",
    "Zoë",
    "\u00a0",
    "\U0001f4de",
    "\r\n",
    "&=+%",
    "é",
)
_BAD_URLS = (
    *("", "/", "//", "a", "https://", "https://[::1/x", "https://a]/x", "https://a:port/x"),
    *("https://a:99999/x", "https://a:-1/x", "https://a/\udcff", "https://a/x?q=\ud800", "\0"),
    *(
        "https://a/x?q=1\t2",
        "\nhttps://a/x",
        "https://a\u2100b/x",
        "https://[v1.x]/",
        "https://:::/",
    ),
)
_BAD_PARAMS: tuple[Any, ...] = (
    [None],
    [1],
    ["1", None],
    [b"x"],
    ["\ud800"],
    [["x"]],
    [{}],
    [1.5, "x"],
)
_BAD_SIGNATURES = (None, "", " ", "=", "x" * 28, "é" * 28, "\udcff", "A" * 100_000, "\0" * 28)


class Tally(NamedTuple):
    """How many cases had which verdict; all of them the expected one."""

    accepted: int
    refused: int
    ill_formed: int


class _Url(NamedTuple):
    scheme: str
    user: str
    host: str
    port: str
    path: str
    query: str

    def text(self) -> str:
        return f"{self.scheme}://{self.user}{self.host}{self.port}{self.path}{self.query}"

    def forms(self) -> list[str]:
        """Every form that is documented as judged."""
        with_port = self._replace(port=self.port or {"http": ":80", "https": ":443"}[self.scheme])
        forms = [self, with_port, self._replace(port="")]
        return [one.text() for form in forms for one in (form, form.written_anew())]

    def written_anew(self) -> _Url:
        query = self.query[1:]
        if not query or re.search("%(?![0-9a-fA-F]{2})", query):
            return self
        try:
            values = parse_qs(query, keep_blank_values=True, errors="strict")
        except UnicodeDecodeError:
            return self
        anew = urlencode(values, doseq=True, quote_via=quote, safe="!*'()")
        return self._replace(query=f"?{anew}")

    def is_cut_in_two(self) -> bool:
        """Whether the validator takes another colon for that of the port."""
        return bool(self.port) and ":" in self.user + self.host


def compare(seed: int, cases: int) -> Tally:
    """Make requests and judge them both ways.

    Raises:
        AssertionError: the verdicts differ; it tells on what.
    """
    random = Random(seed)
    tally: Counter[str] = Counter()
    for number in range(cases):
        judge = _ill_formed if random.random() < 0.15 else _well_formed
        try:
            tally[judge(random)] += 1
        except Exception as error:
            raise AssertionError(f"Case {number} of seed {seed}: {error!r}") from error
    return Tally(tally["accepted"], tally["refused"], tally["ill-formed"])


def _well_formed(random: Random) -> str:
    url = _url(random)
    params = _params(random)
    signed, signed_params, token = url.text(), params, random.choice(TOKENS)
    match random.randrange(8):
        case 0 | 1:
            signed = random.choice(url.forms())
        case 2:
            # What the validator takes for the URL without its port.
            signed = remove_port(urlparse(signed))
        case 3:
            token = OTHER_TOKEN
        case 4:
            signed_params = _params(random)
        case 5:
            signed = random.choice(_url(random).forms())
        case 6:
            place = random.randrange(len(signed))
            signed = signed[:place] + random.choice("aZ0%+ '&?") + signed[place + 1 :]
        case _:
            # As it is.
            pass
    signature = _signature(token, signed, signed_params)
    if random.random() < 0.05:
        signature = signature.swapcase()[: random.choice((27, 28))]
    twilios = any(
        RequestValidator(one).validate(url.text(), MultiDict(params), signature) for one in TOKENS
    )
    documented = signature in {
        _signature(one, form, params) for one in TOKENS for form in url.forms()
    }
    expected = documented or (twilios and not url.is_cut_in_two())
    if twilios and not expected:
        # Nothing else may be narrower than the validator.
        assert url.is_cut_in_two()
    found = _is_accepted(url.text(), params, signature)
    assert found == expected, (url.text(), params, signed, signed_params, token, found)
    return "accepted" if found else "refused"


def _ill_formed(random: Random) -> str:
    url, params = _url(random).text(), _params(random)
    signature: str | None = _signature(random.choice(TOKENS), url, params)
    wrong = random.sample(("url", "params", "signature"), random.randint(1, 3))
    if "url" in wrong:
        url = random.choice(_BAD_URLS)
    if "params" in wrong:
        params = {**params, random.choice(_NAMES): random.choice(_BAD_PARAMS)}
    if "signature" in wrong:
        signature = random.choice(_BAD_SIGNATURES)
    assert not _is_accepted(url, params, signature), (url, params, signature)
    return "ill-formed"


def _is_accepted(url: str, params: dict[str, list[str]], signature: str | None) -> bool:
    try:
        verify(url, params, signature, TOKENS)
    except RefusedError:
        return False
    return True


def _signature(token: str, url: str, params: dict[str, list[str]]) -> str:
    signature: str = RequestValidator(token).compute_signature(url, MultiDict(params))
    return signature


def _url(random: Random) -> _Url:
    pieces = random.choices(_PIECES, k=random.choice((0, 0, 1, 2, 4)))
    if random.random() < 0.1:
        pieces.append(random.choice(_BROKEN_PIECES))
    random.shuffle(pieces)
    query = random.choice(("&", "&", "&", "&&")).join(pieces)
    return _Url(
        random.choice(("http", "https")),
        random.choice(_USERS),
        random.choice(_HOSTS),
        random.choice(_PORTS),
        random.choice(_PATHS),
        f"?{query}" if query else "",
    )


def _params(random: Random) -> dict[str, list[str]]:
    names = random.sample(_NAMES, random.choice((0, 1, 2, 5)))
    return {name: random.choices(_VALUES, k=random.choice((1, 1, 1, 2, 3))) for name in names}


@click.command()
@click.option("--cases", default=60_000, show_default=True)
@click.option("--seed", type=int, help="By default another one every time.")
def main(cases: int, seed: int | None) -> None:
    """Compare the door's verdicts on signatures with those of Twilio's own validator."""
    seed = Random().getrandbits(32) if seed is None else seed
    click.echo(f"Comparing {cases} requests, seed {seed} ...")
    tally = compare(seed, cases)
    click.echo(
        f"{sum(tally)} cases, seed {seed}: no difference; {tally.accepted} accepted,"
        f" {tally.refused} refused, {tally.ill_formed} ill-formed and refused."
    )


if __name__ == "__main__":
    main()
