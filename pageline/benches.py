"""The commands `pageline bench ...`. Imports late, so that `--help` is instant."""

import os
import random
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pageline.command import FAILED, Json, print_json

benches = typer.Typer(invoke_without_command=True)

Report = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE.html", dir_okay=False, writable=True, help="Write a page with tables and plots."
    ),
]
Seconds = Annotated[float, typer.Option(min=1, help="How long one look at calls takes, s.")]


@benches.callback()
def bench(context: typer.Context, *, seconds: Seconds = 15.0, to: Report = None, as_json: Json = False) -> None:
    """Measure ingress, pickup, hold, desk and bots, one after the other, with baselines beside; or one of these."""
    if context.invoked_subcommand is None:
        _measure(seconds=seconds, to=to, as_json=as_json)
        return
    sources = (context.get_parameter_source(name) for name in context.params)
    if any(source is not None and source.name == "COMMANDLINE" for source in sources):
        raise typer.BadParameter(f"write options behind the name: pageline bench {context.invoked_subcommand} --…")


@benches.command()
def ingress(*, to: Report = None, as_json: Json = False) -> None:
    """Measure signed webhooks per CPU-second of the web process, beside Starlette and FastAPI that keep nothing."""
    _measure("ingress", to=to, as_json=as_json)


@benches.command()
def pickup(*, to: Report = None, as_json: Json = False) -> None:
    """Measure how soon after its webhook a call is accepted at Graph, beside one process that does it inline."""
    _measure("pickup", to=to, as_json=as_json)


@benches.command()
def hold(
    *,
    mode: Annotated[list[str] | None, typer.Option(help="answer, forward, bridge or listen; all without.")] = None,
    seconds: Seconds = 15.0,
    to: Report = None,
    as_json: Json = False,
) -> None:
    """Measure how many calls one core holds, by what is done with their sound."""
    _measure("hold", seconds=seconds, modes=mode or (), to=to, as_json=as_json)


@benches.command()
def desk(*, seconds: Seconds = 15.0, to: Report = None, as_json: Json = False) -> None:
    """Measure what the desk adds from a consumer's mouth to an agent's ear, and back."""
    _measure("desk", seconds=seconds, to=to, as_json=as_json)


@benches.command()
def bots(*, seconds: Seconds = 15.0, to: Report = None, as_json: Json = False) -> None:
    """Measure how soon voice bots are silent when they are told to be, and how many a core holds."""
    _measure("bots", seconds=seconds, to=to, as_json=as_json)


@benches.command()
def media(
    *,
    mode: Annotated[str, typer.Option(help="Look once at: answer, forward, bridge, listen, bot.")] = "",
    stack: Annotated[str, typer.Option(help="Of whom: pageline, stock or pion.")] = "pageline",
    calls: Annotated[int, typer.Option(min=1, help="With so many calls.")] = 100,
    seconds: Seconds = 20.0,
    to: Report = None,
    as_json: Json = False,
) -> None:
    """Measure the whole media path beside stock aiortc and pion, half an hour; or look once at one mode."""
    from pageline.bench import look_at_media

    _ready_to_write(to)
    _tell(look_at_media(mode, stack, calls, seconds), to=to, as_json=as_json)


@benches.command()
def storm(
    *,
    calls: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many ring.")] = 10_000,
    seed: Annotated[int | None, typer.Option(min=0, help="Bring a storm again; without, a new one.")] = None,
    kill_every_s: Annotated[float, typer.Option(min=0.2, help="Kill or freeze a process this often, s.")] = 3.0,
    plant: Annotated[
        str, typer.Option(help="Plant a bug that must be found: double-accept, lose-webhook or no-takeover.")
    ] = "",
    to: Report = None,
    as_json: Json = False,
) -> None:
    """Bring thousands of calls in disorder while processes are killed; fail unless nothing is lost or done twice."""
    from pageline.bench import require

    require("psutil")
    _ready_to_write(to)
    from pageline.bench.storm.run import Order, run

    report = run(Order(calls, random.randrange(1_000_000) if seed is None else seed, kill_every_s, plant))
    _tell(report, "storm", to=to, as_json=as_json)
    if not report["pass"]:
        sys.exit(FAILED)


@benches.command()
def soak(
    *,
    minutes: Annotated[float, typer.Option(min=0.2, help="How long calls come.")] = 60.0,
    to: Report = None,
    as_json: Json = False,
) -> None:
    """Let short calls come for an hour; fail unless memory, tasks, threads and descriptors stay flat."""
    from pageline.bench import require

    require("psutil")
    _ready_to_write(to)
    from pageline.bench.soak.run import run

    report = run(minutes)
    _tell(report, "soak", to=to, as_json=as_json)
    if not report["pass"]:
        sys.exit(FAILED)


@benches.command()
def console(
    *,
    calls: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many are in the log.")] = 10_000,
    to: Report = None,
    as_json: Json = False,
) -> None:
    """Open the console in front of thousands of calls; fail unless each view is there within a second."""
    from pageline.bench import require

    require("psutil")
    _ready_to_write(to)
    from pageline.bench.console import run
    from pageline.bench.show import Show

    report = run(calls, Show())
    _tell(report, "console", to=to, as_json=as_json)
    if not as_json:
        for row in report["rows"]:
            print(f"{row['ms']:8.1f} ms  {row['view']}")  # noqa: T201 it is what was asked for
    if not report["aim"]["met"]:
        sys.exit(FAILED)


@benches.command()
def scale(
    *,
    steps: Annotated[str, typer.Option(help="WORKERS:CALLS, one after the other, separated by commas; growing.")] = "",
    seconds: Annotated[float, typer.Option(min=1, help="How long each is looked at, three times, s.")] = 10.0,
    to: Report = None,
    as_json: Json = False,
) -> None:
    """Measure what calls and media workers cost Redis, with up to 100,000 calls held by workers without sound."""
    from pageline.bench import require

    require("psutil")
    _ready_to_write(to)
    from pageline.bench.scale import STEPS, run

    _tell(run(pairs_of(steps) or STEPS, seconds), "scale", to=to, as_json=as_json)


def pairs_of(text: str) -> list[tuple[int, int]]:
    """Read workers and calls, step by step.

    Raises:
        typer.BadParameter: they do not grow, or are no numbers.
    """
    try:
        pairs = [(int(workers), int(calls)) for workers, calls in (each.split(":") for each in text.split(",") if each)]
    except ValueError:
        pairs = [(0, 0)]
    workers, calls = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if any(min(pair) < 1 for pair in pairs) or sorted(workers) != workers or sorted(calls) != calls:
        raise typer.BadParameter("write WORKERS:CALLS, growing, such as 10:100,100:1000", param_hint="--steps")
    return pairs


def _measure(*members: str, to: Path | None, as_json: bool, **how: Any) -> None:
    from pageline.bench import FAMILY, run

    _ready_to_write(to)
    _tell(run(members or FAMILY, **how), to=to, as_json=as_json)


def _ready_to_write(to: Path | None) -> None:
    """Fail before anything is measured where the page could not be written."""
    if to is None:
        return
    from pageline.bench import require

    require("matplotlib")
    if not os.access(to.absolute().parent, os.W_OK):
        raise typer.BadParameter(f"there is no folder {to.parent} that can be written to", param_hint="--report")


def _tell(report: dict[str, Any], member: str = "", *, to: Path | None, as_json: bool) -> None:
    """Print the figures as JSON, and write the page; a report of one `member` is that member's alone."""
    if as_json:
        print_json(report)
    if to is not None:
        from pageline.bench.report import write

        write(to, {member: report} if member else report)
        print(f"pageline: the report is in {to}", file=sys.stderr)  # noqa: T201
