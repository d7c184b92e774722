"""`make simulate`: many seeds, or one with its whole trace."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from rich.console import Console
from rich.progress import track

from tests.simulation.run import Result, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one and print its trace")
    parser.add_argument("--seeds", type=int, default=2_000, help="how many to run (default: 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    asked = parser.parse_args(arguments)
    if asked.seed is not None:
        return _replay(asked.seed)
    return _run_many(range(asked.first, asked.first + asked.seeds), asked.jobs)


def _replay(seed: int) -> int:
    result = run(seed)
    print("\n".join(result.trace))
    for violation in result.violations:
        print(f"broke: {violation}", file=sys.stderr)
    print(f"seed {seed}: {_summary([result])}", file=sys.stderr)
    return int(bool(result.violations))


def _run_many(seeds: range, jobs: int) -> int:
    console = Console(stderr=True)
    began_s, results = time.monotonic(), []
    for result in track(_results(seeds, jobs), f"{len(seeds)} seeds", total=len(seeds), console=console):
        results.append(result)
        if result.violations:
            print(result.report())
            return 1
    took_s = time.monotonic() - began_s
    print(f"{len(results)} seeds in {took_s:.0f} s, no promise broken: {_summary(results)}")
    return 0


def _results(seeds: range, jobs: int) -> Iterator[Result]:
    if jobs == 1:
        yield from map(_brief, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(_brief, seeds, chunksize=4)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _brief(seed: int) -> Result:
    """Run a seed; the trace stays behind where all is well."""
    result = run(seed)
    if not result.violations:
        result.trace.clear()
    return result


def _summary(results: Sequence[Result]) -> str:
    outcomes: Counter[str] = Counter()
    for result in results:
        outcomes.update(result.outcomes)
    told = ", ".join(f"{count} {outcome or 'open'}" for outcome, count in outcomes.most_common())
    hours = sum(result.lasted_s for result in results) / 3600
    return f"{outcomes.total()} calls in {hours:.1f} virtual hours, {told}"


if __name__ == "__main__":
    sys.exit(main())
