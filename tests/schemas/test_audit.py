"""Audit records: sealed so that no field can change unseen."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from schemas.audit import RECORDS, AuditVerdict, digest_of, seal

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
# `n` is in every record, and `hash` in none that is not sealed yet.
RECORDED = st.dictionaries(st.text().filter("hash".__ne__), _VALUES, max_size=5).map(
    lambda record: {**record, "n": 1, "prev": ""}
)


@given(RECORDED)
def test_a_sealed_line_is_one_line_of_json_whose_hash_is_found_again(
    record: dict[str, Any],
) -> None:
    digest, line = seal(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    read = json.loads(line)
    assert read == record | {"hash": digest}
    assert digest_of(read) == digest


@given(RECORDED)
def test_the_order_of_the_fields_does_not_matter(record: dict[str, Any]) -> None:
    assert seal(dict(reversed(record.items()))) == seal(record)


@given(RECORDED, st.data())
def test_a_field_that_is_changed_or_left_out_or_added_shows(
    record: dict[str, Any], data: st.DataObject
) -> None:
    digest, line = seal(record)
    read = json.loads(line)
    name = data.draw(st.sampled_from(sorted(record)))
    other = data.draw(_VALUES.filter(lambda value: json.dumps(value) != json.dumps(record[name])))
    assert digest_of(read | {name: other}) != digest
    assert digest_of({key: read[key] for key in read if key != name}) != digest
    assert digest_of(read | {"added": None}) != digest or "added" in record


def test_the_hash_is_that_of_the_canonical_form_as_documented() -> None:
    record = {"prev": "", "n": 1, "params": {"b": "ü", "a": "<"}}
    canonical = '{"n":1,"params":{"a":"<","b":"ü"},"prev":""}'.encode()
    digest = sha256(canonical).hexdigest()
    assert seal(record) == (digest, canonical[:-1] + b',"hash":"' + digest.encode() + b'"}\n')


def test_every_verdict_has_its_event_name() -> None:
    assert RECORDS.keys() == set(get_args(AuditVerdict))
    for verdict, event in RECORDS.items():
        assert event == f"callback_{verdict.replace('-', '_')}"
