"""What a person sees of the bench, on stderr: progress while it runs, tables at the end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pageline.bench.media.contenders import OURS, PION, STOCK
from pageline.bench.media.table import rows

REDRAWN_PER_TASK: Final = 50
REDRAWN_PER_S: Final = 1


class Show:
    """The screen of the bench."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar and yield what moves it; it is redrawn now and then only, because drawing costs CPU."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        every, done = max(1, total // REDRAWN_PER_TASK), 0
        with Progress(*columns, console=self._console, auto_refresh=False, transient=True) as bar:
            task = bar.add_task(what, total=total)

            def advance(steps: int) -> None:
                nonlocal done
                done += steps
                bar.update(task, completed=done)
                if done % every == 0:
                    bar.refresh()

            bar.refresh()
            yield advance

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that something goes on whose end nobody knows, and for how long it has."""
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, refresh_per_second=REDRAWN_PER_S, transient=True) as bar:
            bar.add_task(what, total=None)
            yield

    def machine(self, machine: dict[str, Any]) -> None:
        """Print where the figures come from."""
        versions = " ".join(f"{name} {number}" for name, number in machine["versions"].items())
        self._console.print(
            f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1min_before']} before, "
            f"{machine['system']}, Python {machine['python']}, {versions}",
            style="dim",
            highlight=False,
        )

    def ingress(self, report: dict[str, Any]) -> None:
        """Print webhooks per CPU-second."""
        table = _table(
            "Signed webhooks per CPU-second of the web process",
            f"{report['rounds']} rounds of {report['webhooks_per_round']:,} webhooks of {report['body_bytes']} bytes, "
            f"{report['connections']} connections; medians and the range of the rounds.\n{report['mix']}",
            ("stack", "per CPU-s", "rounds", "CPU us", "Redis us", "x FastAPI", "keeps"),
        )
        for stack in report["stacks"]:
            redis_us = stack["redis_cpu_us_per_webhook"]
            table.add_row(
                stack["stack"],
                f"{stack['webhooks_per_cpu_s']:,}",
                f"{_span([each / 1000 for each in stack['rounds']])}k",
                f"{stack['cpu_us_per_webhook']:.0f}",
                "-" if redis_us is None else f"{redis_us:.0f}",
                f"{stack['times_fastapi']:.2f}",
                stack["keeps"],
            )
        self._console.print(table)
        self._aim(f"at least {report['aim']['times_fastapi']:g} times the FastAPI figure", report["aim"]["met"])

    def pickup(self, report: dict[str, Any]) -> None:
        """Print delays from webhook to `accept`, and where ours come from."""
        table = _table(
            "Webhook to accept at Graph, ms",
            f"{report['rounds']} rounds at {report['calls_per_s']} calls/s; the Graph answers at once.",
            ("stack", "calls", "not accepted", "p50", "rounds", "p90", "p99", "max"),
        )
        for stack in report["stacks"]:
            p50, *higher = (f"{stack[name]:.1f}" for name in ("p50_ms", "p90_ms", "p99_ms", "max_ms"))
            calls = (str(stack["calls"]), str(stack["unanswered"]))
            table.add_row(stack["stack"], *calls, p50, _span(stack["rounds_p50_ms"]), *higher)
        self._console.print(table)
        stages = _table("Where pageline's time goes, ms", "Medians.", ("after the webhook left", "at", "of it"))
        before_ms = 0.0
        for stage, at_ms in report["stages_ms"].items():
            stages.add_row(stage, f"{at_ms:.1f}", f"{at_ms - before_ms:+.1f}")
            before_ms = at_ms
        self._console.print(stages)
        aim = report["aim"]
        self._aim(f"p50 at most {aim['p50_ms']:g} ms and p99 at most {aim['p99_ms']:g} ms", aim["met"])

    def media(self, report: dict[str, Any]) -> None:
        """Print the media path's figures, or those of one look."""
        if "cost" not in report:
            table = _table(f"{report['stack']}, {report['mode']}", "One look.", ("figure", "value"))
            for figure, value in report.items():
                table.add_row(figure.replace("_", " "), str(value))
            self._console.print(table)
            return
        stacks = (OURS, STOCK, PION)
        caption = f"pion: {report['pion']}. Load of the machine afterwards: {report['load_1min_after']}."
        table = _table("The media path, one core", caption, ("figure", *stacks, "aim", ""))
        for row in rows(report):
            verdict = "" if row.met is None else "[green]met[/green]" if row.met else "[yellow]not met[/yellow]"
            table.add_row(row.figure, *(row.values.get(stack, "-") for stack in stacks), row.aim, verdict)
        self._console.print(table)

    def hold(self, report: dict[str, Any]) -> None:
        """Print how many calls a core holds."""
        caption = f"Of so many every one is heard in time, {report['seconds']:g} s a look."
        table = _table("Calls that one core holds", caption, ("calls", "held", "not held", "of its core", "aim"))
        for row in report["rows"]:
            at = row["at"] or {}
            share = f"{at['cpu']:.0%}" if at else "-"
            table.add_row(row["what"], str(row["held"]), str(row["failed_at"] or "-"), share, f">= {row['aim']}")
        self._console.print(table)
        self._aim("each at least its aim", report["aim"]["met"])

    def desk(self, report: dict[str, Any]) -> None:
        """Print how late agents and consumers hear each other."""
        caption = f"{report['talks']} talks, {report['seconds']:g} s; a sound's way from one end to the other."
        table = _table("What the desk adds from mouth to ear, ms", caption, ("way", "sounds", "p50", "p95"))
        for row in report["rows"]:
            table.add_row(row["way"], str(row["heard"]), f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}")
        self._console.print(table)
        self._aim(f"p95 at most {report['aim']['p95_ms']:g} ms", report["aim"]["met"])

    def bots(self, report: dict[str, Any]) -> None:
        """Print how soon bots are silent, how late they answer, and how many calls with them a core holds."""
        table = _table(
            "Voice bots over a WebSocket",
            "Silence: from the bot's word to the end of the last packet that is heard. "
            "Delay: of the sound of a bot that returns what it hears.",
            ("what", "times", "p50 ms", "p95 ms"),
        )
        for row in report["silences"]:
            what = f"silence after an interruption, {row['protocol']}"
            table.add_row(what, str(row["interruptions"]), f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}")
        for row, name in zip(report["echo_delay"], ("mu-law (Media Streams)", "PCM, 16 kHz"), strict=True):
            p50, p95 = row["echo_delay_p50_ms"], row["echo_delay_p95_ms"]
            table.add_row(f"delay through a bot, {name}", str(row["echoes"]), f"{p50:.1f}", f"{p95:.1f}")
        self._console.print(table)
        held, aim = report["held"]["held"], report["aim"]
        self._console.print(f"Calls with a bot that one core holds, mu-law both ways: {held}", highlight=False)
        wanted = f"silent p95 at most {aim['p95_ms']:g} ms, PCM p95 at most {aim['pcm_p95_ms']:g} ms"
        self._aim(f"{wanted}, {aim['held']} calls a core", aim["met"])

    def scale(self, report: dict[str, Any]) -> None:
        """Print what many workers and calls cost Redis."""
        call, one = report["call"], report["one_redis"]
        table = _table(
            "What calls and workers cost Redis",
            "Redis and load are shares of a core. Worker, sample, call: microseconds of Redis for a second of one, a "
            "sample, a call that comes and goes. p50, p99: ms from a webhook's event to its claim. "
            f"Through all processes, RQ included, a call costs {call['redis_us']:,} us ({call['calls']} calls).",
            ("workers", "calls", "new/s", "Redis", "load", "worker", "sample", "call", "p50", "p99", "MB"),
        )
        table.padding, table.show_edge, table.pad_edge = (
            (0, 0, 0, 1),
            False,
            False,
        )  # eleven columns, on eighty characters
        for row in report["steps"]:
            claimed = (
                f"{row[name]:.1f}" if row[name] is not None else "-" for name in ("claimed_p50_ms", "claimed_p99_ms")
            )
            shares = (f"{row['redis_share']['turnover']:.0%}", f"{row['load_share']:.0%}")
            costs = (f"{row[name]:,.0f}" for name in ("worker_second_us", "sample_us", "call_us"))
            counts = (f"{row['workers']:,}", f"{row['calls']:,}", f"{row['calls_per_s']:g}")
            table.add_row(*counts, *shares, *costs, *claimed, f"{row['memory_mb']:,.0f}")
        self._console.print(table)
        kept = ", ".join(f"{what} {size / 1024:.1f}" for what, size in report["kept_bytes"].items())
        self._console.print(f"Kept of a call of three minutes that has ended, KiB: {kept}.", highlight=False)
        self._console.print(
            f"Reckoned from the last row: {one['calls_at_once']:,} calls of three minutes keep one core of Redis busy.",
            highlight=False,
        )

    def storm_begins(self, calls: int, seed: int, kill_every_s: float, plant: str) -> None:
        """Say what comes, with the seed that brings it again."""
        bug = f", with a planted bug: {plant}" if plant else ""
        self._console.print(
            f"A storm of {calls:,} calls, a process struck every {kill_every_s:g} s{bug}. "
            f"--seed {seed} brings the same calls and the same blows again.",
            highlight=False,
        )

    def storm(self, report: dict[str, Any]) -> None:
        """Print what a storm did, and what was found wrong."""
        strikes = ", ".join(f"{process} {how} at {at_s:g} s" for at_s, process, how in report["strikes"])
        self._console.print(f"Struck: {strikes or 'nobody'}.", style="dim", highlight=False)
        table = _table(
            f"Storm of {report['calls']:,} calls, seed {report['seed']}, {report['seconds']:.0f} s",
            "Outcomes: " + ", ".join(f"{count:,} {outcome}" for outcome, count in report["outcomes"].items()),
            ("what Meta and we did", "times"),
        )
        for what in ("posts", "refused_posts", "duplicates_sent", "kills", "freezes", "takeovers", "accepts_repeated"):
            table.add_row(what.replace("_", " "), f"{report[what]:,}")
        table.add_section()
        for what in ("lost", "kept_twice", "double_accepts", "without_outcome"):
            style = "bold red" if report[what] else "green"
            table.add_row(what.replace("_", " "), f"[{style}]{report[what]:,}[/{style}]")
        self._console.print(table)
        for ended in report["ended_by_themselves"]:
            self._console.print(f"[yellow]{ended}: nothing had been done to it.[/yellow]", highlight=False)
        for what, calls in report["suspects"].items():
            self._console.print(f"[red]{what}[/red]: {', '.join(calls)} ...", highlight=False)
        if "evidence" in report:
            self._console.print(
                f"Logs and data are in {report['evidence']}; `pageline up` with that DATA_DIR opens them."
            )

    def soak(self, report: dict[str, Any]) -> None:
        """Print what changed between the second quarter of a soak and the last."""
        ends = ", ".join(f"{count:,} {end}" for end, count in report["ends"].items())
        table = _table(
            f"Soak of {report['minutes']:g} minutes, {report['calls']:,} calls: {ends}",
            "Medians of the second quarter and of the last. Redis keeps "
            f"{report['redis_kib_per_call']:g} KiB of history per call until it expires.",
            ("process", "figure", "second quarter", "last quarter", ""),
        )
        for each in report["vitals"]:
            verdict = "[green]flat[/green]" if each["flat"] else "[bold red]grows[/bold red]"
            table.add_row(each["process"], each["figure"], f"{each['before']:g}", f"{each['after']:g}", verdict)
        self._console.print(table)
        for kind, (before, after) in report["redis_entries_grown"].items():
            self._console.print(f"[red]Redis holds more of {kind}[/red]: {before} entries, then {after}.")

    def _aim(self, aim: str, met: bool) -> None:
        verdict = "[green]met[/green]" if met else "[yellow]not met in this run[/yellow]"
        self._console.print(f"Aim: {aim}: {verdict}\n", highlight=False)


def _table(title: str, caption: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number > 0 and heading != "keeps" else "left")
    return table


def _span(values: list[float]) -> str:
    return f"{min(values):.1f}-{max(values):.1f}"
