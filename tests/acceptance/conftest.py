"""A stand-in for Meta and a running pipeline for each module; what its processes say is shown where a test fails."""

from collections.abc import Iterator

import pytest

from tests.acceptance.line import PIPELINE, Line, Process
from tests.acceptance.standin import Meta


@pytest.fixture(autouse=True)
def words() -> Iterator[None]:
    """Show what the processes said meanwhile; pytest keeps it to itself unless a test fails."""
    yield
    for process in Process.started:
        if news := process.news():
            print(f"--- {process.name} ---\n{news}")


@pytest.fixture(scope="module")
def meta() -> Iterator[Meta]:
    """The other side: Graph, webhooks, consumers."""
    with Meta() as running:
        yield running


@pytest.fixture(scope="module")
def line(meta: Meta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The Procfile's processes with a handler for each Page of `PAGES`, ready for calls."""
    with Line(tmp_path_factory.mktemp("line"), meta) as running:
        running.start(*PIPELINE)
        yield running.await_ready()
