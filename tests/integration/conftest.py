"""What more than one file of these tests is given."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.business import Business, Webhooks, listening


@pytest.fixture
async def webhooks() -> AsyncIterator[Webhooks]:
    async with listening() as received:
        yield received


@pytest.fixture
async def business() -> AsyncIterator[Business]:
    peer = Business()
    yield peer
    await peer.peer.close()
