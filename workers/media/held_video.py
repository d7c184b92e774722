"""The handler's side of a call's video: every method runs on the handlers' loop and crosses over."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from shared.video import Image, Picture, Showing
from workers.media.host import Host
from workers.media.pictures import Camera, Viewer
from workers.media.video import Video
from workers.media.video_in import Encoded

if TYPE_CHECKING:
    from workers.media.performer import Performer


class HeldVideo:
    """What `shared.video.Seeing` asks of its holder."""

    def __init__(self, performer: "Performer", host: Host) -> None:
        self.performer = performer
        self._host = host
        self._camera: Camera | None = None

    async def watch(self) -> AsyncIterator[Picture]:
        """See `Call.watch`."""
        host, video = self._host, await self._host.on_media_loop(self._video())
        viewer = Viewer(lambda: host.soon_on_media_loop(video.ask_for_key))

        def put(encoded: Encoded, _at_s: float) -> None:
            host.soon_on_handlers_loop(viewer.put, encoded)

        host.soon_on_media_loop(video.view, put)
        try:
            while True:
                yield await viewer.take()
        finally:
            host.soon_on_media_loop(video.unview, put)

    async def _video(self) -> Video:
        return self.performer.sounding().leg.video

    def show(self, image: Image) -> None:
        """See `Call.show`."""
        live = self.performer.live
        if live is None:
            return
        if self._camera is None:
            self._camera = Camera(live.leg.video, self._host)
        self._camera.show(image)

    async def change_media(self, *, muted: bool | None = None, showing: Showing | None = None) -> None:
        """See `Call.mute`, `Call.start_video` and the like."""
        await self._host.on_media_loop(self._change(muted, showing))

    async def _change(self, muted: bool | None, showing: Showing | None) -> None:
        leg = self.performer.sounding().leg
        if not self.performer.answered:
            raise RuntimeError(f"call {self.performer.call_id} is not answered yet; await call.answer() first")
        await self.performer.changes.change(leg, muted=muted, showing=showing)
