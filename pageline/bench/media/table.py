"""The few rows a reader needs: each figure of the media path, the baselines' beside it, and the aim."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pageline.bench.media.contenders import OURS, PION, STOCK

AIMED_AT: Final = {"answer": 60, "forward": 300, "bridge": 300, "listen": 400}
"""Calls held by one core."""
ECHO_DELAY_MS: Final = 60.0
MISSING_PERCENT: Final = {"0": None, "5": 1.0, "10": 3.5, "20": 8.0}
RSS_MB: Final = 0.3
FIRST_SOUND_MS: Final = 45.0
NAMES: Final = {
    "answer": "transcoded two-way calls held",
    "forward": "undecoded echo held",
    "bridge": "bridged legs held",
    "listen": "listeners to one prompt held",
}


class Row(NamedTuple):
    """One figure; a stack is missing where it was not measured."""

    figure: str
    values: dict[str, str]
    aim: str
    met: bool | None
    """None where nothing is aimed at."""


def rows(report: dict[str, Any]) -> list[Row]:
    """Return the table of a whole report."""
    return [*_held(report), *_costs(report), *_delays(report), *_missing(report), *_first_sounds(report)]


def _held(report: dict[str, Any]) -> list[Row]:
    made = []
    for mode, aim in AIMED_AT.items():
        found = {each["stack"]: each["held"] for each in report["held"] if each["mode"] == mode}
        values = {stack: str(held) for stack, held in found.items()}
        made.append(Row(NAMES[mode], values, f">= {aim}", found[OURS] >= aim))
    return made


def _costs(report: dict[str, Any]) -> list[Row]:
    made = []
    for mode, figure in (("forward", "CPU us per packet slot, undecoded"), ("answer", "CPU us per packet slot, PCM")):
        costs = {each["stack"]: each["cpu_us_per_packet_slot"] for each in report["cost"] if each["mode"] == mode}
        values = {stack: " / ".join(str(us) for us in rounds) for stack, rounds in costs.items()}
        met = sum(costs[OURS]) <= sum(costs[PION]) if PION in costs else None
        made.append(Row(figure, values, "<= pion" if mode == "forward" else "-", met))
    sizes = {
        each["stack"]: min(each["rss_per_call_bytes"]) / 1e6 for each in report["cost"] if each["mode"] == "forward"
    }
    values = {stack: f"{mb:.2f}" for stack, mb in sizes.items()}
    return [*made, Row("RSS per call, MB", values, f"<= {RSS_MB:g}", sizes[OURS] <= RSS_MB)]


def _delays(report: dict[str, Any]) -> list[Row]:
    few, loaded = (
        {each["stack"]: each.get("echo_delay_p95_ms") for each in report[name]}
        for name in ("echo_delay", "echo_delay_under_load")
    )
    return [
        _row("echo delay through PCM p95, ms, few calls", few, ECHO_DELAY_MS, "{:.0f}".format),
        _row("the same with as many as are held", loaded, ECHO_DELAY_MS, "{:.0f}".format),
    ]


def _missing(report: dict[str, Any]) -> list[Row]:
    by_loss = report["missing_speech"]
    made = []
    for loss, aim in MISSING_PERCENT.items():
        found = {stack: by_loss[stack].get(loss) for stack in (OURS, STOCK)}
        made_up = {OURS: by_loss["made_up"].get(loss)}
        made.append(_row(f"speech missing at {loss} % loss, %", found, aim, _percent, scale=100))
        made.append(_row("sound made up, pauses included, %", made_up, None, _percent))
    return made


def _percent(share: float) -> str:
    return f"{share * 100:.1f}"


def _first_sounds(report: dict[str, Any]) -> list[Row]:
    made = []
    for mode, aim in (("answer", FIRST_SOUND_MS), ("forward", None)):
        found = {each["stack"]: each for each in report["greetings"] if each["mode"] == mode}
        p50s = {stack: each.get("p50_ms") for stack, each in found.items()}
        p99s = {stack: each.get("p99_ms") for stack, each in found.items()}
        how = "through PCM" if mode == "answer" else "undecoded"
        made.append(_row(f"webhook to first sound back p50, ms, {how}", p50s, aim, "{:.0f}".format))
        made.append(_row("its p99", p99s, None, "{:.0f}".format))
    return made


def _row(
    figure: str, found: dict[str, float | None], aim: float | None, shown: Callable[[float], str], scale: float = 1
) -> Row:
    values = {stack: shown(value) for stack, value in found.items() if value is not None}
    ours = found.get(OURS)
    met = None if aim is None else ours is not None and ours * scale <= aim
    return Row(figure, values, "-" if aim is None else f"<= {aim:g}", met)
