"""A stand-in for Meta and a running pipeline for each module; what its processes say is shown where a test fails."""

from collections.abc import Iterator

import pytest

from tests.acceptance.line import PROCFILE, Line, Process
from tests.acceptance.standin import Meta


@pytest.fixture(scope="module")
def meta() -> Iterator[Meta]:
    """The other side: Graph, webhooks, consumers."""
    with Meta() as running:
        yield running


@pytest.fixture(scope="module")
def line(meta: Meta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The Procfile's processes with a handler for each Page of `PAGES`, ready for calls."""
    with Line(tmp_path_factory.mktemp("line"), meta) as running:
        running.start(*PROCFILE)
        try:
            yield running.await_ready()
        finally:
            show_news()


@pytest.fixture(autouse=True)
def words() -> Iterator[None]:
    """Show what the processes said during a test; pytest keeps it to itself unless the test fails."""
    yield
    show_news()


def show_news() -> None:
    for process in Process.running:
        print(f"--- {process.name} ---\n{process.news()}")
