"""The scribe: writes audit records down, chained, on the terms of this worker.

It knows what goes into every record, how names are written, and who signs; not what a record is
about. Reads and writes nothing outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import msgspec

from schemas.audit import PLAIN, seal, signed
from schemas.audit_keys import SigningKey
from schemas.audit_records import Terms, basis_of
from schemas.events import CloudEvent
from workers.pseudonyms import Pseudonyms, content_digest, params_under
from workers.records import Ledger
from workers.room.bounds import Bounds
from workers.room.value import replace

AuditRecord = dict[str, Any]


@cache
def code_digest() -> str:
    """Work out which heart this is: the first 16 hex digits of the SHA-256 over its source."""
    sources = sorted(
        (source.name, source.read_bytes())
        for source in files("workers.room").iterdir()
        if source.name.endswith(".py")
    )
    digest = sha256()
    for name, source in sources:
        digest.update(b"%s %d\n%s" % (name.encode(), len(source), source))
    return digest.hexdigest()[:16]


class Scribe:
    """Writes the records of one worker."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        pseudonyms: Pseudonyms | None = None,
        key: SigningKey | None = None,
        code: str = "",
    ) -> None:
        """Begin to write.

        Args:
            bounds: what verdicts are made with.
            pseudonyms: how identities and names are written; None: as they are.
            key: signs closing records; None: nobody does.
            code: which heart concludes; by default this one.
        """
        self._pseudonyms = pseudonyms
        self._key = key
        self.terms = Terms(
            version=version("rollcall"),
            code=code or code_digest(),
            identities=pseudonyms.identities if pseudonyms else PLAIN,
            bounds=bounds._asdict(),
        )
        self.basis = basis_of(self.terms)
        self._terms = msgspec.to_builtins(self.terms)

    @property
    def key_id(self) -> str | None:
        """Which key signs."""
        return self._key.public.key_id if self._key else None

    def started(self) -> dict[str, Any]:
        """What a worker says at its start."""
        return {"basis": self.basis, "terms": self._terms, "key_id": self.key_id}

    def write(self, ledger: Ledger, record: AuditRecord, verdict: str = "") -> tuple[Ledger, bytes]:
        """Write the next record of a room.

        Args:
            ledger: the room's.
            record: all but its place in the chain.
            verdict: of the callback that it is about, if it is about one.

        Returns:
            the ledger with the record, and the line to log.
        """
        number = self._place(ledger, record)
        digest, line = seal(record)
        callbacks = ledger.callbacks
        if verdict:
            callbacks = {**callbacks, verdict: callbacks.get(verdict, 0) + 1}
        ledger = replace(
            ledger,
            audit_records=number,
            audit_head=digest,
            audit_basis=self.basis,
            callbacks=callbacks,
        )
        return ledger, line

    def close(self, ledger: Ledger, record: AuditRecord) -> tuple[Ledger, bytes]:
        """Write what a room has come to, and sign it; as above."""
        record["totals"] = {
            "events": ledger.revision,
            "alerts": ledger.alerts,
            "callbacks": ledger.callbacks,
            "records": ledger.audit_records + 1,
        }
        if not self._key:
            return self.write(ledger, record)
        record["key_id"] = self.key_id
        ledger, line = self.write(ledger, record)
        return ledger, signed(line, self._key.sign(ledger.audit_head))

    def _place(self, ledger: Ledger, record: AuditRecord) -> int:
        """Give a record its place in the chain; return its number."""
        record["n"] = ledger.audit_records + 1
        record["prev"] = ledger.audit_head
        record["basis"] = self.basis
        if ledger.audit_basis != self.basis:
            record["terms"] = self._terms
        return ledger.audit_records + 1

    # -- how names are written --------------------------------------------------------------------

    def params(self, params: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """Write the parameters of a callback."""
        if params is None or self._pseudonyms is None:
            return params
        return params_under(params, self._pseudonyms.of)

    def detail(self, detail: str) -> str:
        """Write the text of an error: behind the first colon may stand anything."""
        return detail if self._pseudonyms is None else detail.partition(":")[0]

    def entry(self, entry: Mapping[str, str]) -> Mapping[str, str]:
        """Write what lies in an entry that nobody can read."""
        if self._pseudonyms is None:
            return entry
        of = self._pseudonyms.of
        return {of(name): of(value) for name, value in entry.items()}

    def digest(self, digest: str) -> str:
        """Write a digest over what may hold names."""
        return digest if self._pseudonyms is None else self._pseudonyms.of_digest(digest)

    def reasons(self, reasons: Iterable[AuditRecord]) -> list[AuditRecord]:
        """Write reasons, which name callbacks by a digest."""
        return [
            {**one, "evidence": [*map(self.digest, one["evidence"])]} if "evidence" in one else one
            for one in reasons
        ]

    def ids(self, published: Iterable[CloudEvent]) -> list[str]:
        """Write the ids of events or alerts; their last part is a digest over the content."""
        if self._pseudonyms is None:
            return [one.id for one in published]
        return [one.id.rpartition(":")[0] for one in published]

    def digests(
        self, events: Iterable[CloudEvent], alerts: Iterable[CloudEvent]
    ) -> dict[str, list[str]]:
        """Work out what replay compares where the ids of events cover names that are not told."""
        if self._pseudonyms is None:
            return {}
        of = self._pseudonyms.of
        return {"digests": [content_digest(one, of) for one in (*events, *alerts)]}
