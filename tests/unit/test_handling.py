"""What the public `Call` refuses before it reaches anybody's media."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pageline import Call, Frame


class Silent:
    """A holder that takes frames and does nothing else."""

    def __init__(self) -> None:
        self.sent: list[Frame] = []

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)

    async def nothing(self, *_: Any) -> None:
        await asyncio.Event().wait()

    async def start_recording(self, path: str | None) -> str:
        return path or ""

    async def hear(self, _rate: int) -> AsyncIterator[Frame]:
        await asyncio.Event().wait()
        yield Frame(b"")

    answer = reject = hang_up = play = stop_recording = bridge = next_digit = send_digits = nothing


ANOTHER_RATE: Any = 8000


@pytest.fixture
def holder() -> Silent:
    return Silent()


@pytest.fixture
def call(holder: Silent) -> Call:
    return Call(holder, call_id="c_1", page="1", caller="2", direction="user_initiated", epoch=1)


@pytest.mark.parametrize(
    "frame",
    [Frame(b""), Frame(bytes(1919)), Frame(bytes(640)), Frame(bytes(1920), 16000), Frame(bytes(320), ANOTHER_RATE)],
    ids=["empty", "odd", "too short", "too long", "another rate"],
)
def test_a_frame_that_is_not_20_ms_is_refused_with_its_call_and_the_remedy(call: Call, frame: Frame) -> None:
    with pytest.raises(ValueError, match=r"^call c_1: .* send 1920 bytes"):
        call.send(frame)


@pytest.mark.parametrize("frame", [Frame(bytes(1920)), Frame(bytes(640), 16000)])
def test_a_frame_of_20_ms_is_sent(call: Call, holder: Silent, frame: Frame) -> None:
    call.send(frame)
    assert holder.sent == [frame]
