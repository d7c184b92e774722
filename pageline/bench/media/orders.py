"""What the measuring process and the load say to each other, a line of JSON each."""

import msgspec


class Order(msgspec.Struct, tag_field="do"):
    """What the load is to do."""


class Ring(Order, tag="ring"):
    """Let so many more consumers call; done when each can be heard, or could not in time."""

    calls: int
    per_s: float
    speak: bool = True
    """Else they listen, and send what DTX leaves of silence."""


class Measure(Order, tag="measure"):
    """Look at the packets of all calls for so long, and at what the process under measurement used meanwhile."""

    seconds: float
    pid: int


class HangUp(Order, tag="hang_up"):
    """Let the last so many of the consumers hang up."""

    calls: int


order_of = msgspec.json.Decoder(Ring | Measure | HangUp).decode


class Rung(msgspec.Struct, frozen=True):
    """What became of the consumers who called."""

    asked: int
    connected: int


class Figures(msgspec.Struct, frozen=True):
    """What was seen while it was looked."""

    calls: int
    seconds: float
    held: int
    """Calls that nobody would have noticed a fault in."""
    missing: float
    """Share of all packets."""
    worst_missing: float
    worst_p99_gap_ms: float
    max_gap_ms: float
    cpu: float
    """Of one core, by the process under measurement."""
    cpu_us_per_packet_slot: float
    """A call has 50 packet slots a second, one packet in and one out at most."""
    rss_bytes: int
    load_late_p99_ms: float
    load_late_max_ms: float
    load_cpu: float
    load_dropped: int
    """Packets that the load had no room for."""
