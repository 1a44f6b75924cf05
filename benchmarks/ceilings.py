"""The ceilings: what the parts that Rollcall is made of can do by themselves."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path

from redis import Redis

from benchmarks.figures import Figures
from benchmarks.meetings import traffic
from benchmarks.orders import Order
from benchmarks.plan import Plan
from benchmarks.processes import BenchmarkError
from benchmarks.sending import send
from benchmarks.systems import Site
from console.readiness import answers
from schemas.inbox import encode_params
from workers.intake import callback_from
from workers.room.bounds import Bounds
from workers.room.conclude import conclude
from workers.room.facts import NOTHING, Facts

DOORS = ("bare", "gateway", "checked")
# How many commands go out before an answer is waited for, with pipelining.
PIPELINE = 16
_CLIENTS = 16
_STREAM = "benchmark:ceiling"
_USER = "benchmark"
_BOUND_SECONDS = 60.0
_BOUNDS = Bounds(before=250_000, after=15_000_000)
_SEED = 3
# All at one moment, so that no time passes.
_ARRIVED = 1_700_000_000_000_000


def measure_ceilings(site: Site, plan: Plan, shots: Path, figures: Figures) -> None:
    """Measure one round of all of them."""
    for name in DOORS:
        _measure_door(name, site, plan, shots, figures)
    for pipeline in (1, PIPELINE):
        figures.note("xadds", f"pipeline of {pipeline}", _xadds(site, plan.xadds, pipeline))
    figures.note("heart", "rollcall", _heart(plan.heart))


def _measure_door(name: str, site: Site, plan: Plan, shots: Path, figures: Figures) -> None:
    process = site.start("web", "benchmarks.doors", name)
    try:
        process.wait_ready(lambda: answers(site.port, "/healthz"))
        order = Order(shots=str(shots), port=site.port, seconds=plan.accept, warm_seconds=plan.warm)
        before = process.cpu_seconds()
        report = send(order)
        figures.note("accepted", name, report.accepted_per_second)
        figures.note("cpu of accepting", name, (process.cpu_seconds() - before) / report.sent)
    finally:
        process.end()


def _xadds(site: Site, count: int, pipeline: int) -> float:
    """Append entries such as Rollcall's door does, as fast as Redis takes them; return the rate."""
    site.redis.flushall()
    params = encode_params(next(traffic(_SEED)))
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    began = time.monotonic()
    if program:
        _by_program(program, site, params, count, pipeline)
    else:
        _by_hand(site.redis, params, count, pipeline)
    seconds = time.monotonic() - began
    if site.redis.xlen(_STREAM) < count:
        raise BenchmarkError(f"Of {count} entries, {site.redis.xlen(_STREAM)} are there.")
    return count / seconds


def _by_program(program: str, site: Site, params: bytes, count: int, pipeline: int) -> None:
    # Arguments can be read by everybody, so this password opens nothing but the one stream.
    password = secrets.token_hex(16)
    site.redis.acl_setuser(
        _USER, enabled=True, passwords=[f"+{password}"], keys=[_STREAM], commands=["+xadd"]
    )
    where = ["-p", str(site.server.port), "--user", _USER, "-a", password]
    how = ["-q", "-n", str(count), "-c", str(_CLIENTS), "-P", str(pipeline)]
    entry = ["XADD", _STREAM, "*", "params", params.decode(), "token", "0" * 36]
    subprocess.run(
        [program, *where, *how, *entry],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=_BOUND_SECONDS,
    )


def _by_hand(redis: Redis, params: bytes, count: int, pipeline: int) -> None:
    """One connection of Python's: less than Redis could take, where its own program is missing."""
    for _ in range(0, count, pipeline):
        with redis.pipeline(transaction=False) as commands:
            for _ in range(pipeline):
                commands.xadd(_STREAM, {"params": params, "token": "0" * 36})
            commands.execute()


def _heart(count: int) -> float:
    """Conclude from callbacks that lie ready, room by room; return how many a second."""
    told = [callback_from(params, _ARRIVED) for params in islice(traffic(_SEED), count)]
    rooms: dict[str, Facts] = defaultdict(lambda: NOTHING)
    began = time.process_time()
    for one in told:
        rooms[one.room_sid] = conclude(rooms[one.room_sid], one, _BOUNDS).facts
    return count / (time.process_time() - began)
