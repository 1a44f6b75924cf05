"""One POST, bounded, and what its outcome means. Knows nothing of alerts."""

from __future__ import annotations

from collections.abc import Mapping

import requests
from celery.exceptions import SoftTimeLimitExceeded

from workers.notify.steps import Failure

# To connect, and between two bytes of an answer; the task's own limit bounds the sum. An alert that
# takes longer than this is as good as not delivered: it comes again.
TIMEOUT_SECONDS = 10.0
# The receiver says that this one is wrong: another try would be answered the same.
_REFUSED = frozenset({400, 409, 413, 422})
# "Sender should disable the webhook endpoint, and stop sending it messages." (the specification of
# Standard Webhooks, Delivery success and failure). It is asked once a day whether that still holds.
_GONE = 410
_GONE_WAIT_MS = 24 * 3_600_000
# A target may ask for patience, but not for silence.
_MOST_WAIT_SECONDS = 3_600


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Failure | None:
    """Send a body, and say why it was not taken, if it was not.

    TLS certificates are verified. A redirect is a failure, as the specification of Standard
    Webhooks wishes: whoever can redirect could have the alerts, and their Authorization with them.
    """
    try:
        with requests.post(
            url,
            data=body,
            headers={"User-Agent": "rollcall", **headers},
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
            # What the answer says beside its status is not read.
            stream=True,
        ) as response:
            return _meaning(response)
    # Their texts quote the URL.
    except (requests.Timeout, SoftTimeLimitExceeded):
        return Failure("timeout")
    except requests.exceptions.SSLError:
        return Failure("tls")
    except requests.RequestException as error:
        return Failure("connection", detail=type(error).__name__)


def _meaning(response: requests.Response) -> Failure | None:
    status = response.status_code
    if 200 <= status < 300:
        return None
    reason = f"status-{status}"
    if status == _GONE:
        return Failure(reason, wait_ms=_GONE_WAIT_MS)
    return Failure(reason, about_alert=status in _REFUSED, wait_ms=_wait_ms(response))


def _wait_ms(response: requests.Response) -> int:
    # https://www.rfc-editor.org/rfc/rfc9110#field.retry-after; a date in it is passed over, since
    # the backoff does as well.
    wanted = response.headers.get("Retry-After", "")
    if not (wanted.isascii() and wanted.isdigit()):
        return 0
    return 1000 * min(int(wanted[:9]), _MOST_WAIT_SECONDS)
