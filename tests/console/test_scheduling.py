"""How the kernel is asked to share the cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from procfile import processes, wait_for

from console.embedded import EmbeddedRedis, free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be asked")


def policies_of(process: psutil.Process) -> set[int]:
    """How each thread of a process and of its children is scheduled."""
    family = [process, *process.children(recursive=True)]
    threads = [thread.id for process in family for thread in process.threads()]
    return {os.sched_getscheduler(thread) for thread in threads}


def asked_after(preparation: str) -> tuple[int, str]:
    """How a process is scheduled that was prepared so and then asked for, and what it says."""
    source = f"""
import os
from console.scheduling import use_batch_scheduling
{preparation}
use_batch_scheduling()
print(os.sched_getscheduler(0))
"""
    command = [sys.executable, "-c", source]
    ran = subprocess.run(command, check=True, capture_output=True, timeout=30, text=True)
    said, _, policy = ran.stdout.strip().rpartition("\n")
    return int(policy), said


def test_web_and_workers_do_not_take_a_core_from_who_is_at_work(tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path / "redis")
    redis.start()
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": redis.url,
        "PORT": str(free_port()),
        "TWILIO_AUTH_TOKEN": "t",
        "ROLLCALL_SPOOL_DIR": str(tmp_path / "spool"),
    }
    try:
        with processes(environment, tmp_path) as start:
            for name in ("web", "worker"):
                process = psutil.Process(start(name).pid)
                # With the processes that do its work.
                wait_for(process.children)
                assert policies_of(process) == {os.SCHED_BATCH}
        # Whoever waits for an answer of Redis waits for this one.
        assert policies_of(psutil.Process(redis.pid)) == {os.SCHED_OTHER}
    finally:
        redis.stop()


def test_what_somebody_else_has_chosen_stays() -> None:
    assert asked_after("") == (os.SCHED_BATCH, "")
    idle = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"
    assert asked_after(idle) == (os.SCHED_IDLE, "")


def test_where_the_kernel_may_not_be_asked_everything_goes_on() -> None:
    # As a sandbox answers.
    forbidden = """
def forbidden(*_):
    raise PermissionError("Operation not permitted")
os.sched_setscheduler = forbidden
"""
    policy, said = asked_after(forbidden)
    assert policy == os.SCHED_OTHER
    assert "not_scheduled_in_batches" in said
