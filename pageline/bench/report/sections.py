"""What a page shows of each bench: a table, plots, and whether its aim is met."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from pageline.bench.media.contenders import OURS, PION, STOCK
from pageline.bench.media.table import rows as media_rows
from pageline.bench.report import plots


class Section(NamedTuple):
    """One bench on the page."""

    title: str
    text: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    plots: Sequence[str] = ()
    aim: str = ""
    met: bool | None = None
    """None where nothing is aimed at."""


def of(member: str, report: dict[str, Any]) -> Section:
    """Return what is shown of a member's report."""
    return _SECTIONS[member](report)


def _ingress(report: dict[str, Any]) -> Section:
    stacks = report["stacks"]
    rows = [
        (
            each["stack"],
            _n(each["webhooks_per_cpu_s"]),
            _n(each["cpu_us_per_webhook"]),
            f"{each['times_fastapi']:.2f}",
            each["keeps"],
        )
        for each in stacks
    ]
    drawn = plots.points({each["stack"]: each["rounds"] for each in stacks}, "webhooks per CPU-second, each round")
    aim = f"at least {report['aim']['times_fastapi']:g} times the FastAPI figure"
    load = f"{report['body_bytes']} bytes each, over {report['connections']} connections"
    text = f"{report['rounds']} rounds of {report['webhooks_per_round']:,} webhooks, {load}. {report['mix']}"
    heads = ("stack", "webhooks per CPU-second", "CPU µs for one", "× FastAPI", "keeps")
    return Section("Signed webhooks", text, heads, rows, [drawn], aim, report["aim"]["met"])


def _pickup(report: dict[str, Any]) -> Section:
    stacks, aim = report["stacks"], report["aim"]
    figures = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
    rows = [
        (each["stack"], _n(each["calls"]), _n(each["unanswered"]), *(f"{each[name]:.1f}" for name in figures))
        for each in stacks
    ]
    drawn = [
        plots.curve({each["stack"]: each["spread_ms"] for each in stacks}, "ms from webhook to accept"),
        plots.bars(report["stages_ms"], "ms after the webhook left, medians of pageline's"),
    ]
    wanted = f"p50 at most {aim['p50_ms']:g} ms and p99 at most {aim['p99_ms']:g} ms"
    text = f"{report['rounds']} rounds at {report['calls_per_s']} calls a second; the Graph answers at once."
    heads = ("stack", "calls", "not accepted", "p50 ms", "p90 ms", "p99 ms", "max ms")
    return Section("From the webhook to accept", text, heads, rows, drawn, wanted, aim["met"])


def _hold(report: dict[str, Any]) -> Section:
    rows, drawn = [], []
    for row in report["rows"]:
        at = row["at"] or {}
        worst = f"{100 * at['worst_missing']:.2f} %" if at else "-"
        share = f"{at['cpu']:.0%}" if at else "-"
        rows.append((row["what"], _n(row["held"]), str(row["failed_at"] or "-"), share, worst, f"≥ {row['aim']}"))
        looks = sorted(row["looks"], key=lambda look: look["asked"])
        calls = [look["asked"] for look in looks]
        gaps = {f"{row['what']}: the worst call's p99 gap": [look["worst_p99_gap_ms"] for look in looks]}
        if looks:
            drawn.append(plots.lines(calls, gaps, "calls asked for", "ms between packets", aim=row["aim"]))
    heads = ("calls", "held", "not held", "of its core", "packets missing, worst call", "aim")
    text = f"Of so many calls every one is heard in time; {report['seconds']:g} s a look. The dashed line is the aim."
    return Section("Calls that one core holds", text, heads, rows, drawn, "each at least its aim", report["aim"]["met"])


def _desk(report: dict[str, Any]) -> Section:
    rows = [(row["way"], str(row["heard"]), f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}") for row in report["rows"]]
    drawn = plots.curve({row["way"]: row["spread_ms"] for row in report["rows"]}, "ms from one end to the other")
    aim = f"p95 at most {report['aim']['p95_ms']:g} ms"
    text = f"{report['talks']} talks, {report['seconds']:g} s: what the desk adds from mouth to ear."
    heads = ("way", "sounds", "p50 ms", "p95 ms")
    return Section("The desk", text, heads, rows, [drawn], aim, report["aim"]["met"])


def _bots(report: dict[str, Any]) -> Section:
    silences, aim = report["silences"], report["aim"]
    rows = [
        (f"silent after, {each['protocol']}", str(each["interruptions"]), _n(each["p50_ms"]), _n(each["p95_ms"]))
        for each in silences
    ]
    for each, name in zip(report["echo_delay"], ("μ-law", "PCM, 16 kHz"), strict=True):
        delays = (_n(each["echo_delay_p50_ms"]), _n(each["echo_delay_p95_ms"]))
        rows.append((f"delay through a bot, {name}", str(each["echoes"]), *delays))
    rows.append(("calls with a bot held by a core", str(report["held"]["held"]), "", ""))
    drawn = plots.curve(
        {each["protocol"]: each["spread_ms"] for each in silences}, "ms until an interrupted bot is silent"
    )
    wanted = (
        f"silent p95 at most {aim['p95_ms']:g} ms, PCM p95 at most {aim['pcm_p95_ms']:g} ms, {aim['held']} calls a core"
    )
    heads = ("what", "times", "p50 ms", "p95 ms")
    return Section("Voice bots over a WebSocket", "", heads, rows, [drawn], wanted, aim["met"])


def _media(report: dict[str, Any]) -> Section:
    if "cost" not in report:
        pairs = [(name.replace("_", " "), str(value)) for name, value in report.items()]
        return Section(f"{report['stack']}, {report['mode']}", "One look.", ("figure", "value"), pairs)
    stacks = (OURS, STOCK, PION)
    table = media_rows(report)
    rows = [(row.figure, *(row.values.get(stack, "-") for stack in stacks), row.aim) for row in table]
    held = {f"{each['mode']}, {each['stack']}": each["held"] for each in report["held"]}
    met = all(row.met is not False for row in table)
    heads = ("figure", *stacks, "aim")
    return Section(
        "The media path, one core", "", heads, rows, [plots.bars(held, "calls held")], "each row its aim", met
    )


def _storm(report: dict[str, Any]) -> Section:
    wrong = ("lost", "kept_twice", "double_accepts", "without_outcome")
    names = (*wrong, "posts", "refused_posts", "duplicates_sent", "kills", "freezes", "takeovers", "accepts_repeated")
    rows = [(name.replace("_", " "), _n(report[name])) for name in names]
    struck: dict[str, list[tuple[float, str]]] = {}
    for at_s, process, how in report["strikes"]:
        struck.setdefault(process, []).append((at_s, how))
    drawn = [plots.bars(report["outcomes"], "calls, by how they ended")]
    if struck:
        drawn.append(plots.moments(dict(sorted(struck.items())), report["seconds"]))
    planted = f", with a planted bug: {report['plant']}" if report["plant"] else ""
    struck_every = f"a process was struck every {report['kill_every_s']:g} s"
    text = f"{report['calls']:,} calls in {report['seconds']:.0f} s, seed {report['seed']}{planted}; {struck_every}."
    aim = "nothing lost, nothing kept or accepted twice, no call without an outcome"
    return Section("The storm", text, ("what", "times"), rows, drawn, aim, report["pass"])


def _soak(report: dict[str, Any]) -> Section:
    rows, grown = [], {}
    for each in report["vitals"]:
        before, after = each["before"], each["after"]
        verdict = "flat" if each["flat"] else "grows"
        rows.append((each["process"], each["figure"], f"{before:g}", f"{after:g}", verdict))
        if before:
            grown[f"{each['process']}, {each['figure']}"] = 100 * after / before
    drawn = [plots.bars(grown, "last quarter, in % of the second", aim=100.0)] if grown else []
    if report["minutes_seen"]:
        drawn.insert(0, plots.lines(report["minutes_seen"], report["uss_mib"], "minutes", "MiB of its own"))
    text = f"{report['calls']:,} calls in {report['minutes']:g} minutes; medians of the second quarter and the last."
    for kind, (was, now) in report["redis_entries_grown"].items():
        text += f" Redis holds more of {kind}: {was} entries, then {now}."
    heads = ("process", "figure", "second quarter", "last quarter", "")
    return Section("The soak", text, heads, rows, drawn, "all of them flat", report["pass"])


def _console(report: dict[str, Any]) -> Section:
    rows = [(row["view"], f"{row['ms']:.1f}") for row in report["rows"]]
    drawn = plots.bars({row["view"]: row["ms"] for row in report["rows"]}, "ms", aim=report["aim"]["ms"])
    aim = f"each within {report['aim']['ms']:,} ms"
    text = f"{report['calls']:,} calls in the log."
    return Section("The console", text, ("view", "ms"), rows, [drawn], aim, report["aim"]["met"])


def _scale(report: dict[str, Any]) -> Section:
    steps, call, one = report["steps"], report["call"], report["one_redis"]
    rows = [
        (
            *(_n(step[name]) for name in ("workers", "calls", "calls_per_s")),
            f"{step['redis_share']['turnover']:.0%}",
            f"{step['load_share']:.0%}",
            *(_n(step[name]) for name in ("worker_second_us", "sample_us", "call_us")),
            *(_n(step[name] or 0) for name in ("claimed_p50_ms", "claimed_p99_ms", "memory_mb")),
        )
        for step in steps
    ]
    at = [step["calls"] for step in steps]
    shares = {what: [100 * step["redis_share"][what] for step in steps] for what in ("beats", "samples", "turnover")}
    claimed = {f"{step['calls']:,} calls": step["claimed_ms"] for step in steps if step["claimed_ms"]}
    drawn = [
        plots.lines(at, {**shares, "the load": [100 * step["load_share"] for step in steps]}, "calls", "% of a core"),
        plots.curve(claimed, "ms from a webhook's event to its claim"),
    ]
    text = (
        f"A call through all processes costs Redis {call['redis_us']:,} µs ({call['calls']} calls). Reckoned from the "
        f"last row: {one['calls_at_once']:,} calls of three minutes keep one core of Redis busy. Beats, samples and "
        "turnover are each measured on top of the one before. Kept of a call that has ended: "
        + ", ".join(f"{what} {size:,} bytes" for what, size in report["kept_bytes"].items())
        + "."
    )
    heads = ("workers", "calls", "new/s", "Redis", "load", "µs a worker's second", "µs a sample", "µs a call")
    return Section("Redis at scale", text, (*heads, "claimed p50 ms", "p99 ms", "MB"), rows, drawn)


_SECTIONS: Final[dict[str, Callable[[dict[str, Any]], Section]]] = {
    "ingress": _ingress,
    "pickup": _pickup,
    "hold": _hold,
    "desk": _desk,
    "bots": _bots,
    "media": _media,
    "storm": _storm,
    "soak": _soak,
    "console": _console,
    "scale": _scale,
}


def _n(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
