"""What the tests of the console share."""

from __future__ import annotations

import pytest

from console.embedded import free_port


@pytest.fixture
def unused_port() -> int:
    return free_port()
