"""The servers that a bus has to work on: real Valkey, and the simulation's, which runs the same Lua in memory."""

import time
from collections.abc import Callable

import pytest

from shared.wire import Wire
from tests.simulation.memory_redis import MemoryRedis
from tests.simulation.memory_wire import MemoryWire


@pytest.fixture(params=["valkey", "memory"])
def wire_to(request: pytest.FixtureRequest) -> Callable[[], Wire]:
    """Makes wires, not connected yet, to one server without a key in it."""
    if request.param == "memory":
        server = MemoryRedis(lambda: time.time_ns() // 1000)
        return lambda: MemoryWire(server)
    url: str = request.getfixturevalue("redis_url")
    return lambda: Wire.from_url(url)
