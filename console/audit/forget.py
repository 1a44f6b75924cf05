"""`rollcall audit forget`: how a request to erase a person is served. It only tells."""

from __future__ import annotations

import click

PROCEDURE = """\
How a request to erase a person is served

An audit log must not be changed: a record that is altered or removed shows. So what is erased is
the way from a record to the person.

Where ROLLCALL_AUDIT_IDENTITY=hashed:

  1. The log has pseudonyms in place of identities, room names and track names; only who has
     ROLLCALL_AUDIT_IDENTITY_KEY can tell whose they are, by hashing a name and comparing.
  2. Make a new key with `rollcall audit keygen` and give it to the workers. From then on the same
     people have other pseudonyms. Do so at regular times, such as each month: a key is then
     discarded for all who were in its logs at once. Rooms that are open at that moment can be
     verified, but not replayed beyond it, and in them one person becomes two: under the old key,
     and under the new one.
  3. Discard the old key: in the secret store with its earlier versions, in backups, in the
     environment of every worker. From then on nobody can follow a person in the old logs any more.
  4. Write down when, and the fingerprint of the key: `identities` in the `terms` of the records.
     Signatures and chains of the old logs stay whole, and `verify`, `explain` and `replay` work as
     before.

What is not covered by that, and has to expire by itself or be removed:

  - SIDs. Twilio can tell who a ParticipantSid was, as long as it keeps that.
  - The last three digits of phone numbers, and when somebody was where.
  - Redis: facts and streams have identities as they are. Facts go ROLLCALL_KEEP_HOURS after the end
    of the room, events and alerts when ROLLCALL_EVENTS_MAXLEN newer ones have come, callbacks that
    could not be digested when 10,000 newer ones have.
  - The logs of other programs, and whatever consumers made of the events.

Where ROLLCALL_AUDIT_IDENTITY=plain, names stand in the log as they were received: logs have to be
deleted as a whole when their time is over, and cannot be made to forget one person."""


def forget() -> None:
    """Print the procedure."""
    click.echo(PROCEDURE)
