"""What a soak calls flat: noise is, a leak of one per call is not."""

import random

import pytest

from pageline.bench.soak import keys, vitals

NOISE = random.Random(1)
LOOKS = 120
CALLS_PER_LOOK = 20


def look(*, calls: int = 0, **leak: float) -> vitals.Vitals:
    """Return what a process shows that holds a few calls, and leaks so much per call."""
    under_way = NOISE.randint(1, 4)
    return vitals.Vitals(
        rss_mib=120 + under_way + calls * leak.get("mib", 0),
        uss_mib=70 + under_way + calls * leak.get("mib", 0),
        threads=6 + int(calls * leak.get("threads", 0)),
        descriptors=20 + 2 * under_way + int(calls * leak.get("descriptors", 0)),
        tasks=10 + 12 * under_way + int(calls * leak.get("tasks", 0)),
        objects=50 + under_way,
    )


def grown(**leak: float) -> set[str]:
    looks = [look(calls=number * CALLS_PER_LOOK, **leak) for number in range(LOOKS)]
    return {flat.figure for flat in vitals.judge("media", looks) if not flat.flat}


def test_calls_that_come_and_go_are_flat() -> None:
    assert grown() == set()


@pytest.mark.parametrize("figure", ["threads", "descriptors", "tasks"])
def test_one_more_for_every_twenty_calls_is_found(figure: str) -> None:
    assert grown(**{figure: 0.05}) == {figure}


def test_ten_kilobytes_more_for_every_call_are_found() -> None:
    assert grown(mib=0.01) == {"rss_mib", "uss_mib"}


def test_a_figure_that_nobody_counted_is_not_judged() -> None:
    looks = [vitals.Vitals(rss_mib=1, uss_mib=1, threads=1, descriptors=1) for _ in range(8)]
    assert {flat.figure for flat in vitals.judge("valkey", looks)} == {"rss_mib", "uss_mib", "threads", "descriptors"}


def test_a_server_is_judged_by_what_is_not_its_data() -> None:
    heavy = vitals.Vitals(rss_mib=30, uss_mib=20, threads=1, descriptors=1)
    assert heavy.without(8 << 20) == vitals.Vitals(rss_mib=22, uss_mib=12, threads=1, descriptors=1)


def test_an_inbox_that_nobody_trims_is_found() -> None:
    before, after = {"in": 30, "wait": 0}, {"in": 900, "wait": 3, "workers": 1}
    assert keys.grown(before, after, by_more_than=20) == {"in": [30, 900]}
