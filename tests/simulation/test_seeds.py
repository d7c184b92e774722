"""Hundreds of simulated lives of the whole pipeline, each drawn from a seed; `make simulate` runs thousands.

A failing seed prints itself: `make simulate SEED=...` shows the same run again, to the byte.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.faults import OUTAGES
from tests.simulation.plants import PLANTS, Plant
from tests.simulation.run import run

ROOT = Path(__file__).parents[2]
SEEDS = 250
AT_ONCE = 20
PLANTED_SEEDS = 80
OUTAGE_SEEDS = 40


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_promise_holds_whatever_goes_wrong(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        result = run(seed)
        assert not result.violations, result.report()


def test_an_outage_for_everybody_costs_nobody_their_call() -> None:
    """Also a Redis that comes and goes, where one worker is back and another is not yet."""
    for seed in range(OUTAGE_SEEDS):
        result = run(seed, Plant("nothing", kind=OUTAGES, handler="talk"))
        assert not result.violations, result.report()


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    assert any(run(seed, plant).violations for seed in range(PLANTED_SEEDS))


def test_what_a_planted_bug_replaces_is_there() -> None:
    steps = "".join(path.read_text() for path in (ROOT / "shared" / "lua").glob("*.lua"))
    assert [plant.name for plant in PLANTS if plant.lua[0] not in steps] == []


def test_a_seed_is_the_same_run_every_time() -> None:
    assert run(7).trace == run(7).trace


def test_a_seed_is_the_same_run_in_every_process() -> None:
    """Hashes of strings and addresses of objects differ between these two."""
    traces = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "11"],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert len(traces[0]) > 1000
