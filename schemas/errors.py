"""The error tree: one root, and a `reason` word on every member.

The reason is stable: it labels metrics, log lines and problem answers alike, and tests assert it.
A class's docstring is its message unless a better one is given. Facts about the world (late,
duplicate, unknown event) are never errors; an error is something that its caller must handle.
"""

from __future__ import annotations

from typing import ClassVar


class RollcallError(Exception):
    """Something went wrong in Rollcall."""

    reason: ClassVar[str] = "error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class BadSettingError(RollcallError):
    """A setting cannot be used."""

    reason = "bad-setting"


class StartError(RollcallError):
    """A process of Rollcall cannot start."""

    reason = "cannot-start"


# -- what the door refuses; each becomes an RFC 9457 problem answer -------------------------------


class RefusedError(RollcallError):
    """The request is refused."""

    status: ClassVar[int] = 400


class SignatureMissingError(RefusedError):
    """The request carries no X-Twilio-Signature header."""

    reason = "signature-missing"
    status = 403


class SignatureMismatchError(RefusedError):
    """The signature fits none of TWILIO_AUTH_TOKEN's tokens and the URL that PUBLIC_URL gives."""

    reason = "signature-mismatch"
    status = 403


class AccountNotAllowedError(RefusedError):
    """The AccountSid is not among TWILIO_ACCOUNT_SID."""

    reason = "account-not-allowed"
    status = 403


class RepeatedParameterError(RefusedError):
    """A parameter occurs more than once; the signature does not cover how often."""

    reason = "repeated-parameter"

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"{self.__doc__} Repeated: {', '.join(names)}.")
        self.names = names


class MalformedError(RefusedError):
    """The parameters are not those of a status callback."""

    reason = "malformed"

    def __init__(self, fields: dict[str, list[str]]) -> None:
        super().__init__(f"{self.__doc__} At fault: {', '.join(sorted(fields))}.")
        self.fields = fields


class TooLargeError(RefusedError):
    """The body is larger than a status callback can be."""

    reason = "too-large"
    status = 413


class MethodNotAllowedError(RefusedError):
    """Status callbacks are sent with POST or GET."""

    reason = "method-not-allowed"
    status = 405


class NotFoundError(RefusedError):
    """There is nothing here; status callbacks go to /callbacks."""

    reason = "not-found"
    status = 404


class UnavailableError(RefusedError):
    """The callback could not be made durable."""

    reason = "unavailable"
    status = 503


# -- what stops the drain of a shard --------------------------------------------------------------


class LeaseLostError(RollcallError):
    """The shard's lease is no longer this worker's; nothing was committed."""

    reason = "lease-lost"


class CommitUnknownError(RollcallError):
    """The connection broke while a commit was under way; whether it took is to be looked up."""

    reason = "commit-unknown"


class UnknownVersionError(RollcallError):
    """A room's record was written by a newer Rollcall; the shard is left untouched for it."""

    reason = "unknown-version"


class IndigestibleError(RollcallError):
    """A callback in the inbox that no worker can read."""

    reason = "indigestible"
