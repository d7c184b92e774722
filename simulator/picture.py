"""Pictures as the phone needs them: a moving test picture to send, and an eye for what comes."""

import asyncio
import fractions
import io
import time
from typing import Any

import msgspec
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame
from av import open as av_open
from numpy.typing import NDArray

WIDTH, HEIGHT, FRAMES_PER_S = 320, 240, 15
BAR = 40  # pixels
CLOCK = 90_000

Pixels = NDArray[np.uint8]


class Seen(msgspec.Struct, kw_only=True):
    """What reached the consumer's eye."""

    frames: int = 0
    width: int | None = None
    height: int | None = None
    first_frame_ms: float | None = None
    moving: bool = False
    """Whether the latest picture is another than the first."""


class Camera(MediaStreamTrack):
    """Shows a bright bar that moves over a slope of grey, while it is on."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._on = asyncio.Event()
        self._number = 0
        self._due_s = 0.0
        self._slope = np.tile(np.linspace(16, 120, WIDTH, dtype=np.uint8), (HEIGHT, 1))

    def switch(self, *, on: bool) -> None:
        """Shows the picture, or stops; there are no black frames."""
        if on:
            self._on.set()
        else:
            self._on.clear()

    async def recv(self) -> VideoFrame:
        """Returns the next picture when it is due."""
        await self._on.wait()
        if self.readyState != "live":
            raise MediaStreamError
        now_s = time.monotonic()
        self._due_s = max(now_s, self._due_s + 1 / FRAMES_PER_S)
        await asyncio.sleep(self._due_s - now_s)
        gray = self._slope.copy()
        at = self._number * 8 % (WIDTH - BAR)
        gray[:, at : at + BAR] = 235
        frame = VideoFrame.from_ndarray(gray, format="gray").reformat(format="yuv420p")
        frame.pts, frame.time_base = round(self._due_s * CLOCK), fractions.Fraction(1, CLOCK)
        self._number += 1
        return frame


class Eye:
    """Counts the pictures that come and keeps the latest."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._first: Pixels | None = None
        self._latest: VideoFrame | None = None

    async def watch(self, track: MediaStreamTrack) -> None:
        """Looks at a track until it ends."""
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    self._see(frame)
        except MediaStreamError:
            pass

    def png(self) -> bytes | None:
        """Returns the latest picture as a PNG file, None before there was any."""
        if self._latest is None:
            return None
        buffer = io.BytesIO()
        with av_open(buffer, "w", format="image2pipe") as container:
            stream: Any = container.add_stream("png", rate=1)
            stream.width, stream.height, stream.pix_fmt = self._latest.width, self._latest.height, "rgb24"
            picture = self._latest.reformat(format="rgb24")
            picture.pts = None
            container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return buffer.getvalue()

    def _see(self, frame: VideoFrame) -> None:
        self._latest = frame
        seen = self.seen
        seen.frames += 1
        seen.width, seen.height = frame.width, frame.height
        if self._first is None:
            seen.first_frame_ms = time.time() * 1000
            self._first = _gray(frame)
        elif not seen.moving:
            now = _gray(frame)
            seen.moving = now.shape != self._first.shape or bool(
                np.abs(now.astype(np.int16) - self._first).mean() > 1.0
            )


def _gray(frame: VideoFrame) -> Pixels:
    return frame.to_ndarray(format="gray").astype(np.uint8)
