"""A stand-in for Meta and an exchange for each module; what a test has killed is started again for the next."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import words
from tests.acceptance.standin import Meta
from tests.chaos.exchange import Exchange

__all__ = ["words"]  # a fixture that is used by itself

STAFF = ("web", "action", "media", "media.2")


@pytest.fixture(scope="module")
def meta() -> Iterator[Meta]:
    """The other side: Graph, webhooks, consumers."""
    with Meta() as running:
        yield running


@pytest.fixture(scope="module")
def standing_exchange(meta: Meta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """An exchange that outlives the tests of a module."""
    with Exchange(tmp_path_factory.mktemp("exchange"), meta) as running:
        yield running


@pytest.fixture
def exchange(standing_exchange: Exchange) -> Exchange:
    """An exchange with two media workers, ready for calls."""
    there = {name for name, process in standing_exchange.processes.items() if not process.ended}
    standing_exchange.open(*(name for name in STAFF if name not in there))
    return standing_exchange


@pytest.fixture
def idle_exchange(meta: Meta, tmp_path: Path) -> Iterator[Exchange]:
    """An exchange of its own for one test, of which nothing runs yet but Valkey."""
    with Exchange(tmp_path, meta) as running:
        yield running
