"""Fixtures for every test that needs a real Valkey; one server serves the whole run."""

import fcntl
from collections.abc import Generator, Iterator
from typing import Final, TextIO

import pytest
import redis

from shared.embedded import EmbeddedValkey


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A running Valkey in a folder of its own; `.url` leads to it."""
    with EmbeddedValkey(tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """The URL of a Valkey without a key in it."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url


LOCK: Final = pytest.StashKey[TextIO]()
"""Held by every test, and by one that measures what a whole machine does to sound for itself."""

SOUNDING: Final = ("acceptance", "chaos")
"""Whole lines of ours with calls on them; two at once would be heard in each other's sound."""

SILENT: Final = ("dead_letters", "order", "pages", "pages_simulated", "replay", "start")
"""Acceptance tests in which nobody listens: what they ask is what was done, and they go where there is time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the processes of `make test` share the tests by files, and one of them have all that sounds."""
    for item in items:
        folder = item.path.relative_to(item.config.rootpath).parts[1]
        sounds = folder in SOUNDING and item.path.stem.removeprefix("test_") not in SILENT
        item.add_marker(pytest.mark.xdist_group("sounding" if sounds else item.path.name))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Let nothing run beside tests that are marked `alone`, nor between two of them."""
    cache = getattr(item.config, "cache", None)
    if cache is None:
        return (yield)
    lock = item.config.stash.setdefault(LOCK, (cache.mkdir("alone") / "lock").open("w"))
    fcntl.flock(lock, fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH)
    try:
        return (yield)
    finally:
        if not (_is_alone(item) and nextitem is not None and _is_alone(nextitem)):
            fcntl.flock(lock, fcntl.LOCK_UN)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None
