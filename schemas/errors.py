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


class ReshardError(RollcallError):
    """The rooms cannot be spread over another number of shards now."""

    reason = "cannot-reshard"


class ChildEndedError(RollcallError):
    """A process that `rollcall up` has started ended by itself."""

    reason = "child-ended"


# -- what the door refuses; each becomes an RFC 9457 problem answer -------------------------------


class RefusedError(RollcallError):
    """The request is refused."""

    status: ClassVar[int] = 400

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message)
        # For the log alone: what helps the operator, and is none of the sender's business.
        self.context: dict[str, str] = {}


class SignatureMissingError(RefusedError):
    """The request carries no X-Twilio-Signature header."""

    reason = "signature-missing"
    status = 403


class SignatureMismatchError(RefusedError):
    """The signature fits no token of TWILIO_AUTH_TOKEN and the URL that PUBLIC_URL gives."""

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


class TooManyParametersError(RefusedError):
    """There are more parameters than a status callback can have."""

    reason = "too-many-parameters"


class ValueTooLongError(RefusedError):
    """A parameter is longer than one of a status callback can be."""

    reason = "value-too-long"

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"{self.__doc__} Too long: {', '.join(names)}.")
        self.names = names


class WrongContentTypeError(RefusedError):
    """The body is not said to be application/x-www-form-urlencoded."""

    reason = "wrong-content-type"


class WrongEncodingError(RefusedError):
    """The parameters are not percent-encoded UTF-8."""

    reason = "wrong-encoding"


class TooOldError(RefusedError):
    """The Timestamp is further back than ROLLCALL_MAX_AGE allows."""

    reason = "too-old"


class TooLargeError(RefusedError):
    """The body is larger than a status callback can be."""

    reason = "too-large"
    status = 413


class TooSlowError(RefusedError):
    """The body did not come in time."""

    reason = "too-slow"
    status = 408


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


class NotReplicatedError(RollcallError):
    """Fewer replicas than ROLLCALL_WAIT_REPLICAS have the callback, and the time is up."""

    reason = "not-replicated"


class InboxFullError(RollcallError):
    """The workers are so far behind that the inbox takes no more for now."""

    reason = "inbox-full"


# -- what the console does not answer; each becomes a problem answer as well -----------------------


class UnansweredError(RollcallError):
    """The console does not answer the request."""

    status: ClassVar[int] = 400


class TokenMissingError(UnansweredError):
    """The request carries no `Authorization: Bearer` header."""

    reason = "token-missing"
    status = 401


class TokenMismatchError(UnansweredError):
    """The token is none of ROLLCALL_API_TOKEN."""

    reason = "token-mismatch"
    status = 401


class BadQueryError(UnansweredError):
    """The query is not one that can be answered."""

    reason = "bad-query"


class UnknownRoomError(UnansweredError):
    """No room of this SID is known; it was never heard of, or forgotten long ago."""

    reason = "unknown-room"
    status = 404


class ExpiredError(UnansweredError):
    """The room ended long ago, and nothing but that it has been is known any more."""

    reason = "expired"
    status = 410


# -- what stops the drain of a shard --------------------------------------------------------------


class LeaseLostError(RollcallError):
    """The shard's lease is no longer this worker's; this commit took no effect."""

    reason = "lease-lost"


class AuditOutputError(RollcallError):
    """The audit lines cannot be written; they are kept, and draining stops until they can."""

    reason = "audit-output"


class UnknownVersionError(RollcallError):
    """A room's record was written by a newer Rollcall; the shard is left untouched for it."""

    reason = "unknown-version"


class UnreadableRecordError(RollcallError):
    """What is stored of a room cannot be read; it is left as it is."""

    reason = "unreadable-record"


class IndigestibleError(RollcallError):
    """A callback in the inbox that no worker can read."""

    reason = "indigestible"


# -- what stops the delivery of an alert ----------------------------------------------------------


class UnreadableAlertError(RollcallError):
    """An entry in the stream of alerts is none."""

    reason = "unreadable-alert"
