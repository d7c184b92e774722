"""How good a call sounded, as far as figures tell: shares in per cent, and a mean opinion score by the E-model.

The score is an **estimate**, and named so wherever it appears. It follows ITU-T G.107 with default values except for
what we measure: R = 93.2 - Idd - Ie,eff, where

- Idd is what pure delay costs (section 7.4, sT = 1, mT = 100 ms). Echo is left out: phones cancel it, and we send none.
- Ie,eff is what coding and loss cost (section 7.5, random loss). No Recommendation lists Opus on the narrowband scale;
  Ie = 2.03 and Bpl = 15.95 are those of Alahmadi, Pocta and Melvin, "An Adaptive Bitrate Switching Algorithm for Speech
  Applications in Context of WebRTC", ACM TOMM 17(4), 2021, doi:10.1145/3458751, for narrowband at constant 11 kbit/s,
  the richest setting they give on this scale. We code at twice that rate and more; what wideband sound is worth beyond
  it, this scale cannot say.

Pure: figures in, figures out.
"""

from dataclasses import asdict, dataclass
from math import log2
from typing import Final, Protocol

from shared.calls import facts

DEFAULT_R: Final = 93.2
"""R of a connection with every value at its default (G.107 table 2)."""
OPUS_IE: Final = 2.03
OPUS_BPL: Final = 15.95

PACKET_MS: Final = 20.0
LOOK_AHEAD_MS: Final = 6.5
"""What an Opus encoder looks ahead at its default settings (RFC 6716 section 2)."""


class Figures(Protocol):
    """What is measured of a leg, so far or at its end; see `facts.LegClosed`."""

    @property
    def packets_received(self) -> int: ...
    @property
    def packets_lost(self) -> int: ...
    @property
    def played_ms(self) -> float: ...
    @property
    def paused_ms(self) -> float | None: ...
    @property
    def concealed_ms(self) -> float | None: ...
    @property
    def jitter_buffer_ms(self) -> float | None: ...
    @property
    def round_trip_ms(self) -> float | None: ...
    @property
    def peer_lost(self) -> int | None: ...
    @property
    def peer_lost_of(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Quality:
    """What figures mean; None where what they follow from is missing."""

    lost_percent: float | None
    """Packets of the peer's that never reached us."""
    concealed_percent: float | None
    """Sound we had to make up, of the sound there should have been; pauses of the speaker left out."""
    peer_lost_percent: float | None
    """Packets of ours that never reached the peer, as it says."""
    mos_estimate: float | None
    """Of what we heard. Needs a round trip, and that the sound was decoded."""
    sent_mos_estimate: float | None
    """Of what we sent, at best: the peer's jitter buffer is unknown, and so is what its FEC repaired."""


def judge(figures: Figures) -> Quality:
    """Return what the figures of a leg mean, those so far or those that closed it."""
    spoken_ms = figures.played_ms - (figures.paused_ms or 0.0)
    concealed = None if figures.concealed_ms is None else _percent(figures.concealed_ms, spoken_ms)
    told = figures.peer_lost is not None and figures.peer_lost_of is not None
    peer_lost = _percent(figures.peer_lost or 0, figures.peer_lost_of or 0) if told else None
    heard = sent = None
    if figures.round_trip_ms is not None:
        way_ms = figures.round_trip_ms / 2 + PACKET_MS + LOOK_AHEAD_MS
        if concealed is not None and figures.jitter_buffer_ms is not None:
            heard = mos(rating(way_ms + figures.jitter_buffer_ms, concealed))
        if peer_lost is not None:
            sent = mos(rating(way_ms, peer_lost))
    lost = _percent(figures.packets_lost, figures.packets_received + figures.packets_lost)
    return Quality(lost, concealed, peer_lost, heard, sent)


def told(closed: facts.LegClosed) -> dict[str, float | None]:
    """Return the figures of an ended call that are worth comparing with those of others, by name."""
    measured = {name: getattr(closed, name) for name in ("jitter_ms", "round_trip_ms", "first_packet_ms")}
    return {**asdict(judge(closed)), **measured}


def _percent(part: float, whole: float) -> float | None:
    """Return a share within 0 and 100: what came late or twice is taken back from what was counted as lost."""
    return min(100.0, max(0.0, 100 * part / whole)) if whole > 0 else None


# --- the E-model ---


def rating(one_way_ms: float, loss_percent: float) -> float:
    """Return the transmission rating R for a delay from mouth to ear and a share of packets lost at random."""
    return DEFAULT_R - _delay_impairment(one_way_ms) - _loss_impairment(loss_percent)


def _delay_impairment(one_way_ms: float) -> float:
    """Idd of G.107 section 7.4: nothing up to 100 ms."""
    if one_way_ms <= 100:
        return 0.0
    x = log2(one_way_ms / 100)
    return float(25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2))


def _loss_impairment(loss_percent: float) -> float:
    """Ie,eff of G.107 section 7.5, with a burst ratio of 1."""
    return OPUS_IE + (95 - OPUS_IE) * loss_percent / (loss_percent + OPUS_BPL)


def mos(r: float) -> float:
    """Return the mean opinion score of a rating, 1 to 4.5 (G.107 annex B)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)
