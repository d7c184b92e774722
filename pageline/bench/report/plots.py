"""Plots as SVG that lies in a page: its text takes the page's colour, and nothing is fetched."""

import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

INK: Final = "#17211c"
"""Becomes the colour of the text around it, which differs by day and night."""
SERIES: Final = ("#17966f", "#7a55c4", "#c98a1b", "#3d78c9", "#b0446f", "#6d7f78")
WIDTH_IN, HEIGHT_IN = 6.4, 2.9
ROW_IN: Final = 0.42
_NUMBERS: Final = itertools.count(1)

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "pageline",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": INK,
        "grid.alpha": 0.12,
        "legend.frameon": False,
    }
)


def curve(spreads: Mapping[str, Sequence[float]], unit: str) -> str:
    """Draw how values are spread: which share of them is no larger, from 0 to 100 %; equal steps of share."""
    figure, axes = _figure()
    for (name, values), colour in zip(spreads.items(), SERIES, strict=False):
        shares = [100 * number / max(1, len(values) - 1) for number in range(len(values))]
        axes.plot(values, shares, label=name, color=colour, linewidth=1.8, drawstyle="steps-post")
    axes.set(xlabel=unit, ylabel="% of all", ylim=(0, 101), xlim=(0, None))
    axes.legend(loc="lower right")
    return _svg(figure, f"How {', '.join(spreads)} are spread, {unit}")


def bars(values: Mapping[str, float], unit: str, *, aim: float | None = None) -> str:
    """Draw one bar for each name, with its value, and a line where the aim is."""
    figure, axes = _figure(height_in=0.8 + ROW_IN * len(values))
    names = list(values)[::-1]
    drawn = axes.barh(names, [values[name] for name in names], color=SERIES[0], height=0.6)
    axes.bar_label(drawn, labels=[f"{values[name]:,.4g}" for name in names], padding=4, color=INK)
    if aim is not None:
        axes.axvline(aim, color=SERIES[2], linestyle="--", linewidth=1.4)
    axes.set(xlabel=unit)
    axes.margins(x=0.15)
    axes.grid(visible=False, axis="y")
    return _svg(figure, f"{', '.join(values)}, {unit}")


def points(rows: Mapping[str, Sequence[float]], unit: str) -> str:
    """Draw the rounds of each name as points on a line of its own."""
    figure, axes = _figure(height_in=0.8 + ROW_IN * len(rows))
    for number, (name, values) in enumerate(list(rows.items())[::-1]):
        axes.plot(values, [number] * len(values), "o", label=name, color=SERIES[0], alpha=0.65)
    axes.set_yticks(range(len(rows)), list(rows)[::-1])
    axes.set(xlabel=unit, xlim=(0, None), ylim=(-0.6, len(rows) - 0.4))
    return _svg(figure, f"The rounds of {', '.join(rows)}, {unit}")


def lines(
    at: Sequence[float], series: Mapping[str, Sequence[float]], what: str, unit: str, *, aim: float | None = None
) -> str:
    """Draw values over something, with a mark at each."""
    figure, axes = _figure()
    for (name, values), colour in zip(series.items(), SERIES, strict=False):
        axes.plot(at, values, "o-", label=name, color=colour, linewidth=1.6, markersize=4)
    if aim is not None:
        axes.axvline(aim, color=SERIES[2], linestyle="--", linewidth=1.4, label="aim")
    axes.set(xlabel=what, ylabel=unit, xlim=(0, None), ylim=(0, None))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.legend()
    return _svg(figure, f"{', '.join(series)} by {what}")


def moments(rows: Mapping[str, Sequence[tuple[float, str]]], until_s: float) -> str:
    """Draw when something happened to whom; each kind of happening has a mark of its own."""
    figure, axes = _figure(height_in=0.9 + ROW_IN * len(rows))
    kinds = sorted({kind for row in rows.values() for _, kind in row})
    for kind, colour, mark in zip(kinds, SERIES, "x*ov^s", strict=False):
        told = [(at_s, number) for number, row in enumerate(rows.values()) for at_s, each in row if each == kind]
        axes.plot([at for at, _ in told], [row for _, row in told], mark, label=kind, color=colour, markersize=7)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(xlabel="seconds", xlim=(0, until_s), ylim=(-0.6, len(rows) - 0.4))
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.2), ncols=len(kinds) or 1)
    return _svg(figure, "What was done to whom, and when")


def _figure(height_in: float = HEIGHT_IN) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, told: str) -> str:
    """Return the drawing as an element, told in words to who does not see it."""
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Title": told})
    element = drawn.getvalue()
    element = element[element.index("<svg") :].replace(INK, "currentColor")
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    own = f"p{next(_NUMBERS)}-"  # ids are those of the page
    element = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{own}", element).replace("<svg ", '<svg role="img" ', 1)
    return re.sub(r"\s+", " ", element)
