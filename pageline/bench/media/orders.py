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
    loss: float | None = None
    """Share of their packets that never arrives, the others being 15±4 ms on their way; none for a clean line."""
    expected_loss_percent: int = 5
    """What their encoder makes up for with in-band FEC."""


class Measure(Order, tag="measure"):
    """Look at the packets of all calls for so long, and at what the process under measurement used meanwhile."""

    seconds: float
    pid: int
    listen_to: int = 0
    """Of so many calls the sound is decoded afterwards, and its delay measured."""


class Greet(Order, tag="greet"):
    """Let so many call, hang up once they heard something, and note how long that took."""

    calls: int
    per_s: float


class HangUp(Order, tag="hang_up"):
    """Let the last so many of the consumers hang up."""

    calls: int


order_of = msgspec.json.Decoder(Ring | Measure | Greet | HangUp).decode


class Rung(msgspec.Struct, frozen=True):
    """What became of the consumers who called."""

    asked: int
    connected: int
    call_ids: list[str]


class Greeted(msgspec.Struct, frozen=True):
    """How long after their webhooks consumers heard something, ms; who heard nothing is missing."""

    asked: int
    first_packet_ms: list[float]
    first_sound_ms: list[float]


class Figures(msgspec.Struct, frozen=True):
    """What was seen while it was looked."""

    calls: int
    seconds: float
    call_missing: dict[str, float]
    held: int
    """Calls that nobody would have noticed a fault in."""
    missing: float
    """Share of all packets."""
    worst_missing: float
    worst_p99_gap_ms: float
    max_gap_ms: float
    echo_delays_ms: list[float]
    """Of the calls that were listened to, one a second each."""
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
