"""How a call sounded, in words: the figures that closed it, and its samples as a table."""

from collections.abc import Sequence
from typing import Any, Final

from rich.table import Table

from shared.calls import facts
from shared.calls.quality import Quality, judge
from shared.quality import SAMPLE_EVERY_S, Sample

ROWS: Final = 60
_BARS: Final = "▁▂▃▄▅▆▇█"


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


# --- samples ---


def samples_table(samples: Sequence[Sample], started_ms: int) -> Table:
    """Return the samples as a table, the last of them where there are many."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    columns = ("after", "got", "lost", "concealed", "sent", "lost there", "round trip", "jitter", "buffer", "MOS est.")
    for column in columns:
        table.add_column(column, justify="right")
    for sample in samples[-ROWS:]:
        table.add_row(
            f"{(sample.at_ms - started_ms) / 1000:.0f} s",
            _number(sample.packets_received),
            _number(sample.packets_lost),
            _number(sample.concealed_ms, " ms"),
            _number(sample.packets_sent),
            _number(sample.peer_lost),
            _number(sample.round_trip_ms, " ms"),
            _number(sample.jitter_ms, " ms"),
            _number(sample.jitter_buffer_ms, " ms"),
            "" if sample.mos_estimate is None else f"{sample.mos_estimate:.1f}",
        )
    return table


def sparkline(values: Sequence[float | None]) -> str:
    """Draw values as bars from 0 to the highest; a blank where there is none."""
    highest = max([0.0, *(value for value in values if value is not None)])
    step = highest / (len(_BARS) - 1) or 1.0
    return "".join(" " if value is None else _BARS[max(0, round(value / step))] for value in values)


def sparklines(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    """Return what is worth seeing at a glance, with its range."""
    drawn = []
    for what, unit, values in (
        ("lost", "", [sample.packets_lost for sample in samples]),
        ("concealed", " ms", [sample.concealed_ms for sample in samples]),
        ("lost there", "", [sample.peer_lost for sample in samples]),
        ("round trip", " ms", [sample.round_trip_ms for sample in samples]),
        ("jitter", " ms", [sample.jitter_ms for sample in samples]),
    ):
        known = [value for value in values if value is not None]
        if known:
            drawn.append((what, f"{sparkline(values)}  up to {max(known):.0f}{unit} in {SAMPLE_EVERY_S:.0f} s"))
    return drawn


def as_dicts(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return the samples for JSON."""
    return [{name: getattr(sample, name) for name in sample.__struct_fields__} for sample in samples]


def _number(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:.0f}{unit}"
