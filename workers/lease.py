"""A lease: who has it may commit, and it runs out by itself. Knows no key and sends nothing.

Where Redis's clock is set back, a lease of a dead worker would last as much longer: an hour, say.
So one that has longer to live than any is given is nobody's. Should its holder live after all, the
nonce keeps the two apart. The scripts that take a lease judge by the same.
"""

from __future__ import annotations

# What PTTL answers where there is no end (https://redis.io/docs/latest/commands/pttl/): somebody
# moves rooms (workers/reshard.py).
_FOR_EVER = -1


def is_held(pttl: int, lease_ms: int) -> bool:
    """Tell whether somebody has a lease.

    Args:
        pttl: what PTTL answers of its key.
        lease_ms: how long one is given for, in milliseconds.
    """
    return pttl == _FOR_EVER or 0 <= pttl <= lease_ms
