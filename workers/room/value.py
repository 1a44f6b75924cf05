"""Value: how a class of what is known or concluded is made. The heart's one door to a library.

Such a value is never changed in place. It could be a named tuple; but a callback makes some twenty
of them and copies seven, and a struct of msgspec's is made in a quarter of the time and copied in a
tenth, or with the 33 fields of facts in a sixth. It is stored as the tuple would be: an array of
its fields. https://jcristharif.com/msgspec/structs.html
"""

from __future__ import annotations

from typing import dataclass_transform

from msgspec import Struct
from msgspec.structs import asdict, replace

__all__ = ["Value", "asdict", "replace"]


# Values hold one another and never in a circle: the garbage collector need not look at them.
@dataclass_transform(frozen_default=True)
class Value(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What is made once, is equal to what has equal fields, and may be given to anybody."""
