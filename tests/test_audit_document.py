"""docs/audit.md: its tables are those of the schema, and its recipe for a hash works."""

from __future__ import annotations

import hashlib
import json
import re

from audit_document import DOCUMENT, document, tables
from logging_worker import LoggingWorker
from rooms import PHONE, connected, created

from schemas.audit import RECORDS, SETTLED, STARTED, TIMER
from schemas.audit_reasons import REASONS


def test_the_document_is_what_the_schema_says() -> None:
    assert DOCUMENT.read_text() == document()


def test_every_kind_of_record_and_every_reason_is_in_the_tables() -> None:
    told = set(re.findall(r"^\| `([a-z_-]+)` \|", tables(), re.MULTILINE))
    assert {*RECORDS.values(), TIMER, SETTLED, STARTED, *REASONS} <= told


def test_the_recipe_of_the_document_gives_the_hash_of_a_record() -> None:
    worker = LoggingWorker()
    odd = 'Dana\x00\x1f\x7f\u2028"\\/ \U0001f642 é'
    worker.take([created(), connected(PHONE, 0, odd) | {"\U0001f642": "x", "\uffff": "y"}])
    (recipe,) = re.findall(
        r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
    for record in worker.records():
        exec(recipe, {"json": json, "hashlib": hashlib, "record": record})  # noqa: S102  # as told
