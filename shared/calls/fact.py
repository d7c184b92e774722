"""What all facts have in common; `facts` says what there are."""

import msgspec


class Fact(msgspec.Struct, frozen=True, tag_field="fact", tag=True, omit_defaults=True, kw_only=True):
    """The root of all facts."""

    at_ms: int = 0
    epoch: int = 0


def under(fact: Fact, epoch: int) -> Fact:
    """Return the fact as said under a claim."""
    return msgspec.structs.replace(fact, epoch=epoch)
