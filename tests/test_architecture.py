"""The house: which way imports flow, and that the heart is pure, proved by running it."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rooms import LAPTOP, PHONE, concluded, connected, created, disconnected, ended, track

from schemas.callbacks import SCHEMAS
from workers.intake import callback_from
from workers.room.announcements import KNOWN_EVENTS
from workers.room.callback import Callback
from workers.room.merge import MERGES
from workers.room.value import asdict

HOUSE = Path(__file__).parent.parent
PACKAGES = ("schemas", "ingest", "workers", "console")
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (HOUSE / package).rglob("*.py")
    if "__pycache__" not in path.parts
)
HEART = [path for path in MODULES if path.parent == HOUSE / "workers" / "room"]
# All that the heart may use. None of it reads a clock, draws lots or touches the world.
ALLOWED = {
    "__future__",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "operator",
    "typing",
}
# And what its values are made of, in one place; these names, and nothing that encodes.
OF_VALUES = {"msgspec": {"Struct"}, "msgspec.structs": {"asdict", "replace"}}
WORN_OUT = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}

# What the child processes below begin with: an interpreter that has nothing but the standard
# library, this checkout and what values are made of, and no .pth file of a virtual environment.
BARE = [sys.executable, "-I", "-S", "-c"]


def named(path: Path) -> str:
    return str(path.relative_to(HOUSE))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__")


def imported_by(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return names


def run_bare(script: str, given: Any) -> Any:
    done = subprocess.run(
        [*BARE, script],
        input=json.dumps(given),
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# -- the house ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_module_says_in_its_first_line_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert docstring.splitlines()[0].rstrip().endswith((".", ":", "?"))


@pytest.mark.parametrize(
    "package", [one for one in MODULES if one.name == "__init__.py"], ids=named
)
def test_a_package_holds_a_docstring_and_nothing_else(package: Path) -> None:
    (only,) = ast.parse(package.read_text()).body
    assert isinstance(only, ast.Expr)
    assert isinstance(only.value, ast.Constant)


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert {path.stem for path in MODULES} & WORN_OUT == set()
    assert {part for path in MODULES for part in path.relative_to(HOUSE).parts} & WORN_OUT == set()


def test_the_heart_knows_the_events_that_the_door_knows() -> None:
    assert SCHEMAS.keys() == KNOWN_EVENTS
    assert MERGES.keys() < KNOWN_EVENTS


# -- the contracts --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken_contracts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports says of a copy of the house in which two imports go the wrong way."""
    copy = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HOUSE / package, copy / package, ignore=ignored)
    shutil.copy(HOUSE / "pyproject.toml", copy)
    for path, line in (
        ("workers/room/merge.py", "import time"),
        ("ingest/form.py", "import workers"),
    ):
        (copy / path).write_text((copy / path).read_text() + line + "\n")
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [command, "--no-cache"], cwd=copy, capture_output=True, check=False, text=True, timeout=60
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_a_clock_in_the_heart_breaks_its_contract(broken_contracts: str) -> None:
    assert "workers.room is not allowed to import time" in broken_contracts
    assert "workers.room.merge -> time" in broken_contracts


def test_a_door_that_knows_the_workers_breaks_the_one_way(broken_contracts: str) -> None:
    assert "ingest is not allowed to import workers" in broken_contracts
    assert "ingest.form -> workers" in broken_contracts


# -- the heart is pure ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", HEART, ids=named)
def test_the_heart_imports_itself_and_what_cannot_reach_the_world(path: Path) -> None:
    foreign = {name for name in imported_by(path) if not name.startswith("workers.room.")}
    assert foreign <= (ALLOWED | OF_VALUES.keys() if path.stem == "value" else ALLOWED)


def test_the_heart_takes_of_its_one_library_what_values_are_made_of() -> None:
    taken = {
        str(node.module): {one.name for one in node.names}
        for node in ast.walk(ast.parse((HOUSE / "workers/room/value.py").read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("msgspec")
    }
    assert taken == OF_VALUES


@pytest.fixture
def within_reach(tmp_path: Path) -> list[str]:
    """Where a bare interpreter finds what it may: this checkout, and one library."""
    (tmp_path / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    return [str(HOUSE), str(tmp_path)]


LOADED_BY_THE_HEART = """
import importlib, json, sys
reach, allowed, heart = json.load(sys.stdin)
sys.path += reach
for name in allowed:
    importlib.import_module(name)
before = set(sys.modules)
for name in heart:
    importlib.import_module(name)
json.dump(sorted(set(sys.modules) - before), sys.stdout)
"""


def test_importing_the_heart_loads_the_heart_and_nothing_else(within_reach: list[str]) -> None:
    heart = [module_name(path) for path in HEART]
    assert "workers.room.conclude" in heart
    allowed = sorted(ALLOWED | OF_VALUES.keys())
    loaded = run_bare(LOADED_BY_THE_HEART, [within_reach, allowed, heart])
    assert set(loaded) == {"workers", *heart}


# Before the heart is imported, every clock of `time` and `datetime` and every source of chance is
# replaced, so that no name bound at import time escapes. Once it is imported, whatever the
# interpreter audits (files, sockets, processes, the environment) is refused as well.
WITHOUT_A_WORLD = """
import bisect, collections.abc, dataclasses, datetime, functools, hashlib, itertools, json, random
import operator, os, sys, time, typing

paths, bounds, history = json.load(sys.stdin)
sys.path += paths
import msgspec.structs

class Reached(Exception):
    pass

def reach(*args, **kwargs):
    raise Reached

for name in dir(time):
    if callable(getattr(time, name)) and name != "struct_time":
        setattr(time, name, reach)

class NoDate(datetime.date):
    today = fromtimestamp = classmethod(reach)

class NoDatetime(datetime.datetime):
    now = utcnow = today = fromtimestamp = utcfromtimestamp = classmethod(reach)

datetime.date, datetime.datetime = NoDate, NoDatetime
for module, names in ((random, ("random", "randint", "choice", "shuffle", "getrandbits")),
                      (os, ("urandom", "getpid", "getenv"))):
    for name in names:
        setattr(module, name, reach)

from workers.room.bounds import Bounds
from workers.room.callback import Callback
from workers.room.conclude import conclude, set_aside
from workers.room.diff import Event
from workers.room.facts import NOTHING
from workers.room.fold import fold
from workers.room.view import View, view

watching = True

def watch(event, args):
    # `id` is what tells the very same objects (once.py); nothing that is concluded depends on it.
    known = ("object.", "sys._getframe", "compile", "exec", "builtins.id")
    if watching and not event.startswith(known):
        raise Reached(event)

sys.addaudithook(watch)
caught = 0
for trap in (time.time, time.monotonic, time.time_ns, datetime.datetime.now, datetime.date.today,
             random.random, lambda: open(paths[0]), lambda: os.listdir(paths[0]),
             lambda: __import__("socket").socket()):
    try:
        trap()
    except Reached:
        caught += 1

facts, told, folded = NOTHING, [], View()
for one in history:
    one["id"] = bytes.fromhex(one["id"])
    outcome = conclude(facts, Callback(**one), Bounds(*bounds))
    facts = outcome.facts
    told += [*outcome.events, *outcome.alerts]
    for event in outcome.events:
        folded = fold(folded, event)
alike = folded == view(facts, Bounds(*bounds))
aside = set_aside(facts, "key", 0, Bounds(*bounds))
watching = False
heard = [[one.kind, one.subject, one.at] for one in told]
json.dump([caught, alike, len(aside.alerts), heard], sys.stdout)
"""

SCENE = [
    created(),
    connected(PHONE, 1_000),
    track("added", PHONE, 1_000),
    track("disabled", PHONE, 2_000),
    connected(LAPTOP, 60_000),
    disconnected(PHONE, 60_300),
    created() | {"StatusCallbackEvent": "room-painted"},
    ended(90_000),
]


def _told(callbacks: Iterable[Callback]) -> list[dict[str, Any]]:
    return [asdict(one) | {"id": one.id.hex()} for one in callbacks]


@pytest.mark.parametrize("which", ["recorded", "scene"])
def test_no_function_of_the_heart_reads_a_clock_or_touches_the_world(
    recorded_room: list[dict[str, str]], which: str, within_reach: list[str]
) -> None:
    history = recorded_room if which == "recorded" else SCENE
    told = _told(callback_from(params, 0) for params in history)
    caught, alike, aside, heard = run_bare(
        WITHOUT_A_WORLD, [within_reach, [250_000, 15_000_000], told]
    )
    assert caught == 9  # the traps work
    assert alike
    assert aside == (which == "recorded")  # the scene's room is closed, where nothing is raised
    events, alerts = concluded(history, people=True)
    assert sorted(heard) == sorted([one.kind, one.subject, one.at] for one in (*events, *alerts))
