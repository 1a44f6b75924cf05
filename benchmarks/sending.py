"""Having something sent, by a sender in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from benchmarks.orders import Order, Report
from benchmarks.processes import ROOT, BenchmarkError

# To load its file, and to wait for the last answers.
_SPARE_SECONDS = 60.0


def send(order: Order) -> Report:
    """Have an order carried out.

    Raises:
        BenchmarkError: it failed, or not all that was sent was answered 204.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sender"],
        input=msgspec.json.encode(order),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=False,
        timeout=order.warm_seconds + order.seconds + _SPARE_SECONDS,
    )
    if done.returncode:
        raise BenchmarkError("The sender failed.")
    report = msgspec.json.decode(done.stdout, type=Report)
    if report.answers != {204: report.sent}:
        raise BenchmarkError(f"Sent {report.sent}, and answered was {report.answers}.")
    return report
