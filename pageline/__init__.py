"""Answer and place Messenger calls: write what a caller experiences as one short coroutine.

    from pageline import Call

    async def reception(call: Call) -> None:
        await call.answer()
        await call.play("welcome.ogg")  # returning hangs up

Point `CALL_HANDLER=module:function` at it. `async def on_lost(call)` beside it, if present, runs when a worker died
with the call in its hands.
"""

from shared.attending import Agent, Parted, Place
from shared.errors import HandlerUnusable, MessageFailed
from shared.handling import AnswerRefused, Call, CallEnded, Frame, Room
from shared.line import line
from shared.recording import Recording
from shared.speaking import SpeechFailed, Spoken
from shared.streaming import Speech, StreamFailed
from shared.timetable import Timetable
from shared.video import Image, MediaRefused, Picture

__all__ = [
    "Agent",
    "AnswerRefused",
    "Call",
    "CallEnded",
    "Frame",
    "HandlerUnusable",
    "Image",
    "MediaRefused",
    "MessageFailed",
    "Parted",
    "Picture",
    "Place",
    "Recording",
    "Room",
    "Speech",
    "SpeechFailed",
    "Spoken",
    "StreamFailed",
    "Timetable",
    "line",
]
