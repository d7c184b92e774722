"""What the public `Call` refuses before it reaches anybody's media."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from pageline import Call, Frame
from shared.line import Line, LineHolder
from shared.meta.messages import Message, call_prompt, composed, optin


class Silent:
    """A holder that takes frames and does nothing else."""

    def __init__(self) -> None:
        self.sent: list[Frame] = []
        self.written: list[tuple[str, str, Message]] = []

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)

    async def nothing(self, *_: Any) -> None:
        await asyncio.Event().wait()

    async def message(self, page: str, psid: str, message: Message) -> str:
        self.written.append((page, psid, message))
        return "m_1"

    async def start_recording(self, path: str | None, *, stereo: bool) -> str:
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


async def test_a_call_writes_to_its_own_consumer(call: Call, holder: Silent) -> None:
    assert await call.message("Hello") == "m_1"
    await call.message("We are open.", title="The shop", call_button="Call now", days=2)
    await call.prompt_call(ttl_days=5)
    await call.ask_permission()
    button = composed("We are open.", title="The shop", call_button="Call now", days=2)
    messages = [composed("Hello"), button, call_prompt(5), optin()]
    assert holder.written == [("1", "2", message) for message in messages]


async def test_the_line_writes_to_anybody(holder: Silent) -> None:
    line = Line()
    line.bind(cast("LineHolder", holder))
    await line.message("1", "3", "We are open.", call_button="Call now")
    await line.prompt_call("1", "3", ttl_days=5)
    await line.ask_permission("1", "3")
    messages = [composed("We are open.", call_button="Call now"), call_prompt(5), optin()]
    assert holder.written == [("1", "3", message) for message in messages]


async def test_the_line_outside_of_a_handler_says_what_to_use_instead() -> None:
    with pytest.raises(RuntimeError, match="pageline optin"):
        await Line().ask_permission("1", "3")


async def test_what_meta_would_not_take_reaches_nobody(call: Call, holder: Silent) -> None:
    with pytest.raises(ValueError, match="Meta takes 20"):
        await call.message("Hello", call_button="Please do call us now")
    assert holder.written == []
