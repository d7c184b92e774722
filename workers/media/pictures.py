"""Pictures encoded and decoded, in a few threads for the whole process: never on the media loop, never behind time.

PyAV lets go of the interpreter while a codec works: these threads take a processor, and not the media loop's turn.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, Final, TypeVar, cast

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from shared import log
from shared.video import Image, Picture
from workers.media.host import Host, Inlet
from workers.media.video import Video
from workers.media.video_in import Encoded, is_key
from workers.media.video_out import CLOCK_RATE

T = TypeVar("T")

THREADS: Final = 2
MOST_JOBS: Final = 8
"""More than that wait for a thread: whoever comes now is too late."""
PICTURES_WAITING: Final = 30
BACKLOG: Final = 90
"""Pictures kept for the decoder; three seconds."""
LARGEST_PIXELS: Final = 1920 * 1088
MOST_PER_S: Final = 25
SAME_RATE_S: Final = 2.0
"""An encoder is made anew for another bit rate no more often than this: each begins with a key picture."""
CROWDED_PACKETS: Final = 150
"""With so many of our packets waiting, pictures are left out."""

_ENCODERS: Final = {"vp8": "libvpx", "h264": "libx264"}

_threads: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="pictures")
_jobs = 0
_log = log.get()


async def _in_a_thread(function: Callable[..., T], *arguments: Any) -> T | None:
    """Run a codec's work; None where all threads have too much to do."""
    global _jobs  # noqa: PLW0603  # of the process, like the threads
    if _jobs >= MOST_JOBS:
        return None
    _jobs += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, function, *arguments)
    finally:
        _jobs -= 1


class Viewer:
    """One `watch()`: pictures on their way to a handler, and those its decoder needs. Used on the handlers' loop."""

    def __init__(self, ask_for_key: Callable[[], None]) -> None:
        self._ask_for_key = ask_for_key
        self._inlet = Inlet[Picture](PICTURES_WAITING)
        self._backlog: deque[Picture] = deque()
        self._decoder: VideoCodecContext | None = None
        self._turn = asyncio.Lock()

    def put(self, encoded: Encoded) -> None:
        """Take a picture as it came."""
        picture = Picture(encoded.codec, encoded.key, encoded.timestamp, encoded.data, self._decode)
        self._inlet.put(picture)
        if len(self._backlog) >= BACKLOG:
            self._backlog.clear()
        if picture.key or self._backlog or self._decoder is not None:
            self._backlog.append(picture)

    async def take(self) -> Picture:
        """Return the oldest picture that waits."""
        return await self._inlet.take()

    async def _decode(self, picture: Picture) -> Image | None:
        async with self._turn:
            due: list[Picture] = []
            while picture in self._backlog:
                due.append(self._backlog.popleft())
            keys = [place for place, one in enumerate(due) if one.key]
            if keys:
                due = due[keys[-1] :]
                self._decoder = _decoder(picture.codec)
            if not due or self._decoder is None:
                self._lose()
                return None
            try:
                image = await _in_a_thread(_decoded, self._decoder, due)
            except (av.FFmpegError, ValueError):
                image = None
            if image is None:
                self._lose()
            return image

    def _lose(self) -> None:
        """Begin anew with the next key picture."""
        self._decoder = None
        while self._backlog and not self._backlog[0].key:
            self._backlog.popleft()
        if not self._backlog:
            self._ask_for_key()


def _decoder(codec: str) -> VideoCodecContext:
    decoder = cast("VideoCodecContext", av.CodecContext.create(codec, "r"))
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(LARGEST_PIXELS)}
    return decoder


def _decoded(decoder: VideoCodecContext, pictures: list[Picture]) -> Image | None:
    """Decode them all and return the last."""
    frames = [frame for picture in pictures for frame in decoder.decode(av.Packet(picture.data))]
    if not frames:
        return None
    frame = frames[-1]
    even = frame.reformat(width=frame.width & ~1, height=frame.height & ~1, format="yuv420p")
    return Image(even.width, even.height, even.to_ndarray().tobytes())


class Camera:
    """What a call shows: the latest picture goes to the encoder when that is free, and from there to the leg.

    `show` is called on the handlers' loop.
    """

    def __init__(self, video: Video, host: Host) -> None:
        self._video = video
        self._host = host
        self._latest: Image | None = None
        self._work: asyncio.Task[None] | None = None
        self._encoder: VideoCodecContext | None = None
        self._made_for, self._made_s = "", 0.0
        self._key = True
        video.on_key_wanted = self._want_key

    def show(self, image: Image) -> None:
        """Show a picture as soon as there is time for it, unless another comes before."""
        self._latest = image
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._encode_all())

    def _want_key(self) -> None:
        self._key = True

    async def _encode_all(self) -> None:
        while self._latest is not None:
            image, self._latest = self._latest, None
            codec = self._video.codec
            began_s = time.monotonic()
            if codec is not None and self._video.outgoing.waiting < CROWDED_PACKETS:
                key, self._key = self._key, False
                try:
                    data = await _in_a_thread(self._encoded, image, codec, self._video.bits_s, key)
                except av.FFmpegError as error:
                    _log.warning("video.not_encoded", because=repr(error))
                    data, self._encoder = None, None
                if data:
                    self._host.soon_on_media_loop(self._send, Encoded(codec, is_key(codec, data), 0, data), began_s)
                else:
                    self._key |= key
            await asyncio.sleep(max(0.0, began_s + 1 / MOST_PER_S - time.monotonic()))

    def _send(self, picture: Encoded, at_s: float) -> None:
        if not self._video.show(picture, at_s):
            self._key = True

    def _encoded(self, image: Image, codec: str, bits_s: int, key: bool) -> bytes:
        frame = image.frame()
        frame.pts, frame.time_base = int(time.monotonic() * CLOCK_RATE), Fraction(1, CLOCK_RATE)
        frame.pict_type = PictureType.I if key else PictureType.NONE
        encoder = self._encoder
        wanted, now_s = f"{codec}{image.width}x{image.height}", time.monotonic()
        other_rate = encoder is not None and abs(bits_s - (encoder.bit_rate or 1)) * 10 > bits_s
        if encoder is None or wanted != self._made_for or (other_rate and now_s - self._made_s > SAME_RATE_S):
            self._made_for, self._made_s = wanted, now_s
            encoder = self._encoder = _encoder(codec, image.width, image.height, bits_s)
        return b"".join(bytes(packet) for packet in encoder.encode(frame))


def _encoder(codec: str, width: int, height: int, bits_s: int) -> VideoCodecContext:
    """Make an encoder for conversation: no look ahead, a constant bit rate; as aiortc sets its own."""
    encoder = cast("VideoCodecContext", av.CodecContext.create(_ENCODERS[codec], "w"))
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.bit_rate = bits_s
    encoder.time_base = Fraction(1, CLOCK_RATE)
    encoder.framerate = Fraction(MOST_PER_S)
    encoder.gop_size = 3000  # key pictures come when they are asked for
    encoder.thread_count = 1
    if codec == "vp8":
        encoder.qmin, encoder.qmax = 2, 56
        encoder.options = {
            "deadline": "realtime",
            "cpu-used": "-6",
            "lag-in-frames": "0",
            "bufsize": str(bits_s),
            "minrate": str(bits_s),
            "maxrate": str(bits_s),
            "static-thresh": "1",
        }
    else:
        encoder.profile = "Baseline"
        encoder.options = {
            "tune": "zerolatency",
            "preset": "veryfast",
            "level": "31",
            "maxrate": str(bits_s),
            "bufsize": str(bits_s // 2),
            "forced-idr": "1",
        }
    return encoder
