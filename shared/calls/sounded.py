"""How a call sounded, in words: the figures that closed it."""

from shared.calls import facts
from shared.calls.quality import Quality, judge


def told(closed: facts.LegClosed) -> list[tuple[str, str]]:
    """Return the closing figures as lines for people: what it is about, and what it was."""
    quality = judge(closed)
    return [
        ("we heard", _heard(closed, quality)),
        ("the caller was sent", _sent(closed, quality)),
        ("delay", _delay(closed)),
    ]


def _heard(closed: facts.LegClosed, quality: Quality) -> str:
    said = [f"{closed.packets_received} packets, {closed.packets_lost} lost{_share(quality.lost_percent)}"]
    if quality.concealed_percent is None:
        said.append("not decoded, so nothing is known of gaps")
    else:
        said.append(f"{quality.concealed_percent:.1f} % of the sound concealed")
        if closed.recovered_ms:
            said.append(f"{closed.recovered_ms / 1000:.1f} s repaired")
    said.append(_mos(closed.mos_estimate))
    return "; ".join(said)


def _sent(closed: facts.LegClosed, quality: Quality) -> str:
    said = [f"{closed.packets_sent} packets"]
    if not closed.peer_reports:
        said.append("the far side never reported what arrived")
    elif closed.peer_lost is None:
        said.append(f"the far side reported {closed.peer_reports} times and never that any arrived")
    else:
        said.append(f"{max(0, closed.peer_lost)} lost{_share(quality.peer_lost_percent)}, says the far side")
        said.append(_mos(closed.sent_mos_estimate, "at best "))
    return "; ".join(said)


def _delay(closed: facts.LegClosed) -> str:
    said = ["no round trip was measured"]
    if closed.round_trip_ms is not None:
        said = [f"round trip {closed.round_trip_ms:.0f} ms"]
        if closed.round_trip_min_ms is not None and closed.round_trip_max_ms is not None:
            said = [f"{said[0]} ({closed.round_trip_min_ms:.0f} to {closed.round_trip_max_ms:.0f})"]
    for name, value_ms in (
        ("jitter", closed.jitter_ms),
        ("jitter buffer", closed.jitter_buffer_ms),
        ("first packet after", closed.first_packet_ms),
    ):
        if value_ms is not None:
            said.append(f"{name} {value_ms:.0f} ms")
    return "; ".join(said)


def _share(percent: float | None) -> str:
    return "" if percent is None else f" ({percent:.1f} %)"


def _mos(estimate: float | None, how: str = "") -> str:
    return "no MOS estimate" if estimate is None else f"MOS estimate {how}{estimate:.1f}"
