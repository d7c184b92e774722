"""The commands `pageline bench ...`. Imports late, so that `--help` is instant."""

import random
import sys
from typing import Annotated

import typer

from pageline.command import FAILED, Json, print_json

benches = typer.Typer(invoke_without_command=True)


@benches.callback()
def bench(
    context: typer.Context,
    *,
    only: Annotated[str, typer.Option(help="`ingress`, `answer`, `media`, `desk` or `bots`; all without.")] = "",
    mode: Annotated[str, typer.Option(help="Of media, look once at: answer, forward, bridge, listen, bot.")] = "",
    stack: Annotated[str, typer.Option(help="Of whom: pageline, stock or pion.")] = "pageline",
    calls: Annotated[int, typer.Option(min=1, help="With so many calls.")] = 100,
    seconds: Annotated[float, typer.Option(min=1, help="For so long, s.")] = 20.0,
    as_json: Json = False,
) -> None:
    """Measure webhooks per CPU-second and webhook-to-accept, with baselines beside, in one run; or storm, or soak."""
    if context.invoked_subcommand is not None:
        return
    from pageline.bench import run

    report = run(only, mode=mode, stack=stack, calls=calls, seconds=seconds)
    if as_json:
        print_json(report)


@benches.command()
def storm(
    *,
    calls: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many ring.")] = 10_000,
    seed: Annotated[int | None, typer.Option(min=0, help="Bring a storm again; without, a new one.")] = None,
    kill_every_s: Annotated[float, typer.Option(min=0.2, help="Kill or freeze a process this often, s.")] = 3.0,
    plant: Annotated[
        str, typer.Option(help="Plant a bug that must be found: double-accept, lose-webhook or no-takeover.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Bring thousands of calls in disorder while processes are killed; fail unless nothing is lost or done twice."""
    from pageline.bench import require

    require("psutil")
    from pageline.bench.storm.run import Order, run

    report = run(Order(calls, random.randrange(1_000_000) if seed is None else seed, kill_every_s, plant))
    if as_json:
        print_json(report)
    if not report["pass"]:
        sys.exit(FAILED)


@benches.command()
def soak(
    *,
    minutes: Annotated[float, typer.Option(min=0.2, help="How long calls come.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Let short calls come for an hour; fail unless memory, tasks, threads and descriptors stay flat."""
    from pageline.bench import require

    require("psutil")
    from pageline.bench.soak.run import run

    report = run(minutes)
    if as_json:
        print_json(report)
    if not report["pass"]:
        sys.exit(FAILED)


@benches.command()
def console(
    *,
    calls: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many are in the log.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Open the console in front of thousands of calls; fail unless each view is there within a second."""
    from pageline.bench import require

    require("psutil")
    from pageline.bench.console import run

    report = run(calls)
    if as_json:
        print_json(report)
    else:
        for row in report["rows"]:
            print(f"{row['ms']:8.1f} ms  {row['view']}")  # noqa: T201 it is what was asked for
    if not report["aim"]["met"]:
        sys.exit(FAILED)


@benches.command()
def scale(
    *,
    steps: Annotated[str, typer.Option(help="WORKERS:CALLS, one after the other, separated by commas; growing.")] = "",
    seconds: Annotated[float, typer.Option(min=1, help="How long each is looked at, three times, s.")] = 10.0,
    as_json: Json = False,
) -> None:
    """Measure what calls and media workers cost Redis, with up to 100,000 calls held by workers without sound."""
    from pageline.bench import require

    require("psutil")
    from pageline.bench.scale import STEPS, run

    report = run(_pairs(steps) or STEPS, seconds)
    if as_json:
        print_json(report)


def _pairs(text: str) -> list[tuple[int, int]]:
    try:
        pairs = [(int(workers), int(calls)) for workers, calls in (each.split(":") for each in text.split(",") if each)]
    except ValueError:
        pairs = [(0, 0)]
    if (
        any(min(pair) < 1 for pair in pairs)
        or sorted(pairs) != pairs
        or sorted(c for _, c in pairs) != [c for _, c in pairs]
    ):
        raise typer.BadParameter("write WORKERS:CALLS, growing, such as 10:100,100:1000", param_hint="--steps")
    return pairs
