"""How a call sounded: its samples as a table and as bars."""

from collections.abc import Sequence
from typing import Final

from rich.table import Table

from shared.quality import SAMPLE_EVERY_S, Sample

ROWS: Final = 60
_BARS: Final = "▁▂▃▄▅▆▇█"


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


def _number(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:.0f}{unit}"
