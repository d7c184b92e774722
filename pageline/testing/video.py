"""The consumer's camera and screen as a test plays them."""

import itertools
from collections.abc import AsyncIterator

from shared.video import Image, Picture, Showing
from workers.media.host import EAR_FRAMES, Inlet


class PlayedVideo:
    """What `Call` asks of a worker where video is concerned."""

    def __init__(self) -> None:
        self.camera: Inlet[Image] = Inlet(EAR_FRAMES)
        self.muted = False
        self.showing: Showing = "nothing"
        self.shown: list[Image] = []

    @property
    def tick(self) -> int:
        """Return how many times 20 ms have passed."""
        raise NotImplementedError

    def sounding(self) -> None:
        """Refuse what needs both sides to be able to speak."""
        raise NotImplementedError

    async def watch(self) -> AsyncIterator[Picture]:
        """See `Call.watch`."""
        self.sounding()
        for number in itertools.count():
            image = await self.camera.take()

            async def decode(_picture: Picture, image: Image = image) -> Image:
                return image

            yield Picture("vp8", number == 0, self.tick * 1800, b"", decode)

    def show(self, image: Image) -> None:
        """See `Call.show`."""
        if self.showing != "nothing":
            self.shown.append(image)

    async def change_media(self, *, muted: bool | None = None, showing: Showing | None = None) -> None:
        """See `Call.mute`, `Call.start_video` and the like."""
        self.sounding()
        self.muted = self.muted if muted is None else muted
        self.showing = self.showing if showing is None else showing
