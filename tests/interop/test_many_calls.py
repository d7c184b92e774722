"""Five hundred calls in a row where the ordinary tests make eighty."""

import pytest

from tests.integration.test_many_calls import grow


@pytest.mark.interop
@pytest.mark.timeout(600)
async def test_five_hundred_calls_in_a_row_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    await grow(500, caplog)
