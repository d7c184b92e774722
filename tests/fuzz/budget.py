"""How much fuzzing there is: a fixed number of the same examples in CI, and more, of fresh ones, by `make fuzz`."""

import os
from typing import Final, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

TIMES: Final = int(os.environ.get("PAGELINE_FUZZ_TIMES", "1"))
"""How many times as many examples as in CI; beyond 1 they are new in every run."""


def examples(count: int) -> settings:
    """Return settings for so many examples; what fails is printed with what makes it fail again."""
    return settings(
        max_examples=count * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def drawn(strategy: SearchStrategy[T], count: int) -> list[T]:
    """Return examples for a test that takes them all at once."""
    found: list[T] = []

    @given(strategy)
    @examples(count)
    def collect(one: T) -> None:
        found.append(one)

    collect()
    return found
