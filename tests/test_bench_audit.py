"""`make bench-audit`: what it measures is there, and goes where the documents have their marks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def measured(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_the_audit_costs_is_measured_with_and_without(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("before\n<!-- audit: begin -->\n<!-- audit: end -->\nafter\n")
    arguments = ("--callbacks", "300", "--rounds", "1", "--write", str(document))
    said = measured("audit", *arguments)
    rows = re.findall(
        r"^\| (.+?) \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d,]+ \| (\S+) \|$", said, re.MULTILINE
    )
    assert [kind for kind, _ in rows] == ["off", "on", "on, names hashed"]
    assert rows[0][1] == "-"
    assert re.search(
        r"^Goal: at most 25% lost with the audit on: (met|missed)\.$", said, re.MULTILINE
    )
    assert said.strip() in document.read_text()


def test_what_reading_takes_is_measured_by_size() -> None:
    said = measured("audit_memory", "--megabytes", "1", "--workers", "1", "2")
    rows = re.findall(r"^\| (\d+) \| ([\d,]+) \|(?: [\d,]+ \|){6}$", said, re.MULTILINE)
    assert len(rows) == 2
    one, two = (int(count.replace(",", "")) for _, count in rows)
    assert 1.8 < two / one < 2.2


@pytest.mark.parametrize(("document", "part"), [("performance", "audit"), ("audit", "memory")])
def test_the_documents_have_their_marks(document: str, part: str) -> None:
    text = (ROOT / "docs" / f"{document}.md").read_text()
    assert text.index(f"<!-- {part}: begin -->") < text.index(f"<!-- {part}: end -->")
