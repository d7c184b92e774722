"""Fixtures for every test that needs a real Valkey; one server serves the whole run."""

from collections.abc import Iterator

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
