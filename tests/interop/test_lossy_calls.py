"""Minutes on a lossy path instead of seconds: what the aims of docs/performance.md say, on real packets."""

import asyncio

import pytest

from tests.integration.test_lossy_leg import missing_percent
from tests.unit.test_lossy_path import AIMS, speech

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

SECONDS = 60


@pytest.mark.parametrize(("loss_percent", "aim"), AIMS.items())
async def test_a_minute_of_speech_over_a_lossy_path_misses_no_more_than_the_aim(loss_percent: int, aim: float) -> None:
    await asyncio.to_thread(speech, SECONDS, loss_percent)
    inward, outward = await missing_percent(loss_percent, SECONDS)
    assert inward <= aim
    assert outward <= aim
