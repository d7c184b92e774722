"""What a handler sees and shows: pictures, and the verbs of a call that have to do with them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from av import VideoFrame

LARGEST_SHOWN: Final = 1280 * 720
"""Pixels; H264 is agreed on at level 3.1, which has no more (H.264 table A-1)."""

Showing = Literal["camera", "screen", "nothing"]


class MediaRefused(Exception):
    """Meta did not take a change of our media; the call goes on as it was. `code` and the like are Graph's, if any."""

    def __init__(
        self, message: str, *, code: int | None = None, subcode: int | None = None, fbtrace_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.subcode = subcode
        self.fbtrace_id = fbtrace_id


class Image(NamedTuple):
    """A picture, decoded: 8-bit YUV 4:2:0, the three planes one after the other without padding (I420)."""

    width: int
    """Even, as is the height."""
    height: int
    i420: bytes

    def rgb(self) -> bytes:
        """Return it as RGB, three bytes a pixel, line by line."""
        return self.frame().reformat(format="rgb24").to_ndarray().tobytes()

    @classmethod
    def of_rgb(cls, width: int, height: int, rgb: bytes) -> Self:
        """Make one of RGB, three bytes a pixel, line by line."""
        import numpy as np  # both are heavy, and for those only who look at pictures
        from av import VideoFrame

        pixels = np.frombuffer(rgb, np.uint8).reshape(height, width, 3)
        frame = VideoFrame.from_ndarray(pixels, format="rgb24")
        return cls(width, height, frame.reformat(format="yuv420p").to_ndarray().tobytes())

    def frame(self) -> "VideoFrame":
        """Return it as PyAV has pictures."""
        import numpy as np
        from av import VideoFrame

        rows = np.frombuffer(self.i420, np.uint8).reshape(self.height * 3 // 2, self.width)
        return VideoFrame.from_ndarray(rows, format="yuv420p")


class Picture:
    """A picture as it came, encoded: cheap to have, keep and pass around."""

    def __init__(
        self, codec: str, key: bool, timestamp: int, data: bytes, decode: Callable[["Picture"], Awaitable[Image | None]]
    ) -> None:
        self.codec: Final = codec
        """`vp8` or `h264`."""
        self.key: Final = key
        """Whether it can be decoded without those before it."""
        self.timestamp: Final = timestamp
        """Of its stream, in 1/90,000 s; it wraps at 32 bits."""
        self.data: Final = data
        """A VP8 frame, or an H264 access unit with start codes."""
        self._decode = decode

    async def decode(self) -> Image | None:
        """Return it decoded, in a thread of its own; None where that comes too late or a picture it needs is missing.

        Decode pictures in the order in which they came, all or some of them.
        """
        return await self._decode(self)


class VideoHolder(Protocol):
    """What the video verbs of a `Call` need of the worker that holds it; called on the handler's event loop."""

    def watch(self) -> AsyncIterator[Picture]: ...
    def show(self, image: Image) -> None: ...
    def change_media(self, *, muted: bool | None = None, showing: Showing | None = None) -> Awaitable[None]: ...


class Seeing:
    """The verbs of a `Call` that have to do with video and with muting."""

    holder: VideoHolder

    def watch(self) -> AsyncIterator[Picture]:
        """Iterate over the pictures of the consumer's camera, beginning with a key picture, whenever it is on.

        A second's worth waits for a handler that is slow; older ones are dropped.
        """
        return self.holder.watch()

    def show(self, image: Image) -> None:
        """Show a picture to the consumer, after `start_video` or `share_screen`.

        It is encoded in another thread, at most 25 times a second; of pictures that come faster the latest is shown.
        Where the consumer sees no video of ours it is dropped.

        Raises:
            ValueError: its size is odd, or above 1280 x 720, or not that of its bytes.
        """
        size = image.width * image.height
        odd = image.width % 2 or image.height % 2 or min(image.width, image.height) < 2
        if odd or size > LARGEST_SHOWN or len(image.i420) * 2 != size * 3:
            raise ValueError(
                f"{len(image.i420)} bytes are no I420 picture of {image.width} x {image.height}, "
                "whose sides must be even, and which must be no larger than 1280 x 720"
            )
        self.holder.show(image)

    async def mute(self) -> None:
        """Send none of our sound any more, and let the consumer see that we are muted.

        Raises:
            MediaRefused: Meta did not take it; nothing of ours is heard all the same.
        """
        await self.holder.change_media(muted=True)

    async def unmute(self) -> None:
        """Let our sound be heard again.

        Raises:
            MediaRefused: Meta did not take it; our sound is sent all the same.
        """
        await self.holder.change_media(muted=False)

    async def start_video(self) -> None:
        """Offer video to the consumer, and return when `show` has an effect.

        Raises:
            MediaRefused: Meta did not take it; the call goes on as it was.
        """
        await self.holder.change_media(showing="camera")

    async def share_screen(self) -> None:
        """Offer video as `start_video` does, but as a screen that is shared.

        Raises:
            MediaRefused: Meta did not take it; the call goes on as it was.
        """
        await self.holder.change_media(showing="screen")

    async def stop_video(self) -> None:
        """Show nothing any more; it can be started again.

        Raises:
            MediaRefused: Meta did not take it; nothing is shown all the same.
        """
        await self.holder.change_media(showing="nothing")
