"""Facts as they lie in logs and inboxes: JSON, and beside it when each was told and under which epoch."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from shared.calls import facts

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(facts.CallFact).decode


class Delivery(NamedTuple):
    """One entry of a worker's inbox."""

    id: str
    call_id: str
    seq: int
    fact: facts.Fact
    arrival: facts.Fact | None
    """On a claim of a call to which nothing else has happened yet: its first fact, seq - 1."""


class LogEntry(NamedTuple):
    """One entry of a call's log."""

    seq: int
    fact: facts.Fact


def bare(fact: facts.Fact) -> bytes:
    """Encode a fact without what travels beside the fact in the log."""
    return _encode(replace(fact, at_ms=0, epoch=0))


def _stamped(fact: bytes, at_ms: bytes, epoch: bytes) -> facts.Fact:
    try:
        decoded: facts.Fact = _decode(fact)
    except msgspec.ValidationError:  # of a newer version of ours, during a deploy
        decoded = facts.Unrecognized(event="unknown fact", body=fact.decode(errors="replace"))
    return replace(decoded, at_ms=int(at_ms), epoch=int(epoch))


def log_entry(entry_id: bytes, fields: Sequence[bytes]) -> LogEntry:
    """Read an entry of a call's log."""
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    return LogEntry(int(entry_id.split(b"-")[0]), _stamped(named[b"f"], named[b"t"], named[b"e"]))


def delivery(entry_id: bytes, fields: Sequence[bytes]) -> Delivery:
    """Read an entry of a worker's inbox."""
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    prior = named.get(b"p")
    return Delivery(
        entry_id.decode(),
        named[b"c"].decode(),
        int(named[b"s"]),
        _stamped(named[b"f"], named[b"t"], named[b"e"]),
        None if prior is None else _stamped(prior, named[b"pt"], b"0"),
    )
