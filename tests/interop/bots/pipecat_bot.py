"""A voice bot written with Pipecat for Twilio, as its users write them; it knows nothing of pageline.

It says a long tone; when its VAD hears somebody speak, it stops, says a short one, and ends the call through Pipecat's
own Twilio serializer. What happened goes to standard output, a line each.
"""

import math
import os
import sys
from array import array

import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    StartFrame,
    TTSAudioRawFrame,
    VADUserStartedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from twilio.request_validator import RequestValidator

HZ = 8000
LONG_HZ, SHORT_HZ = 880, 440

app = FastAPI()


def tell(what: str) -> None:
    print(what, flush=True)


def tone(hz: int, seconds: float) -> list[TTSAudioRawFrame]:
    samples = array("h", (int(9000 * math.sin(2 * math.pi * hz * n / HZ)) for n in range(int(HZ * seconds))))
    sound = samples.tobytes()
    return [TTSAudioRawFrame(sound[at : at + 640], HZ, 1) for at in range(0, len(sound), 640)]


class Brain(FrameProcessor):
    """Decides what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await self.say(LONG_HZ, 30)
        elif isinstance(frame, VADUserStartedSpeakingFrame) and not self.interrupted:
            tell("interrupted")
            self.interrupted = True
            await self.broadcast_interruption()
            await self.say(SHORT_HZ, 1.5)
        elif isinstance(frame, BotStartedSpeakingFrame):
            tell("speaking")
        elif isinstance(frame, InterruptionFrame):
            tell("interruption")

    async def say(self, hz: int, seconds: float) -> None:
        for frame in tone(hz, seconds):
            await self.push_frame(frame)
        if self.interrupted:
            await self.push_frame(EndFrame())


@app.websocket("/bot")
async def bot(websocket: WebSocket) -> None:
    signature = websocket.headers.get("x-twilio-signature", "")
    if RequestValidator(os.environ["TWILIO_AUTH_TOKEN"]).validate(str(websocket.url), {}, signature):
        tell("signed")
    await websocket.accept()
    kind, call = await parse_telephony_websocket(websocket)
    tell(f"{kind} {call['call_id']} {call['body'].get('shop')}")
    serializer = TwilioFrameSerializer(
        stream_sid=call["stream_id"],
        call_sid=call["call_id"],
        account_sid=os.environ["TWILIO_ACCOUNT_SID"],
        auth_token=os.environ["TWILIO_AUTH_TOKEN"],
        base_url=os.environ["TWILIO_BASE_URL"],
    )
    transport = FastAPIWebsocketTransport(
        websocket,
        FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer),
    )
    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer())
    task = PipelineTask(
        Pipeline([transport.input(), vad, Brain(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=HZ, audio_out_sample_rate=HZ),
    )
    await PipelineRunner(handle_sigint=False).run(task)
    tell("over")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
