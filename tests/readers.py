"""What whoever reads snapshots has in the tests: a token, and the header that shows it."""

from __future__ import annotations

API_TOKEN = "a-token-of-the-consumer"
SHOWN = {"Authorization": f"Bearer {API_TOKEN}"}
