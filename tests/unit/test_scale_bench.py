"""What the bench of scale makes of what it saw."""

import pytest
import typer

from pageline.bench.scale import of_step, one_redis
from pageline.bench.scale.load import Step, Used
from pageline.benches import pairs_of


def step(*, calls_per_s: float, turnover: float, claimed_ms: list[float]) -> dict[str, object]:
    return of_step(
        Step(
            workers=100,
            calls=6_000,
            beats=Used(0.02, 0.01),
            samples=Used(0.05, 0.02),
            samples_per_s=1_200.0,
            turnover=Used(turnover, 0.1),
            calls_per_s=calls_per_s,
            claimed_ms=claimed_ms,
            beat_late_ms=3.0,
            memory_bytes=6_000 * 10_240,
        )
    )


def test_each_cost_is_what_came_on_top_of_the_one_before() -> None:
    told = step(calls_per_s=50.0, turnover=0.15, claimed_ms=[float(number) for number in range(1, 101)])
    assert (told["worker_second_us"], told["sample_us"], told["call_us"]) == (200.0, 25.0, 2_000.0)
    assert (told["claimed_p50_ms"], told["claimed_p99_ms"], told["open_call_kib"]) == (50.0, 99.0, 10.0)


def test_a_step_in_which_no_call_came_costs_nothing_for_one() -> None:
    told = step(calls_per_s=0.0, turnover=0.05, claimed_ms=[])
    assert (told["call_us"], told["claimed_p50_ms"]) == (0.0, None)


def test_a_core_is_busy_with_as_many_calls_as_their_seconds_fit_into_its_own() -> None:
    few = step(calls_per_s=5.0, turnover=0.06, claimed_ms=[1.0])  # 2,000 us a call
    many = step(calls_per_s=50.0, turnover=0.10, claimed_ms=[1.0])  # 1,000 us a call
    told = one_redis([few, many], whole_call_us=2_800.0)
    assert told["beside_us"] == 800, "of the step with as many new calls as the whole ones"
    one_us = 1_800 / 180 + 25 / 5 + 200 / 60
    assert told["calls_at_once"] == round(1e6 / one_us)
    assert one_redis([few, many], whole_call_us=100.0)["beside_us"] == 0


@pytest.mark.parametrize("text", ["10", "10:100,5:200", "10:100,20:50", "0:10", "a:b", "10:100:1"])
def test_steps_that_do_not_grow_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="growing"):
        pairs_of(text)


def test_steps_arepairs_of() -> None:
    assert pairs_of("10:100, 100:1000") == [(10, 100), (100, 1_000)]
    assert pairs_of("") == []
