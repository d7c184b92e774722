"""The handler's side of a call on hold, or passed on: every method runs on the handlers' loop and crosses over."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from shared.handling import Handler, Sound
from shared.speaking import Spoken
from workers.media import sounds
from workers.media.host import Host
from workers.media.voice import voice

if TYPE_CHECKING:
    from workers.media.performer import Performer

MUSIC: Final = Path(__file__).parent.parent / "handlers" / "sounds" / "waiting_music.ogg"


class HeldPassing:
    """What `shared.passing.Passing` asks of its holder."""

    performer: "Performer"
    _host: Host

    async def hold(self, music: tuple[Sound, ...]) -> None:
        """See `Call.hold`."""
        packets = [packet for sound in music or (MUSIC,) for packet in await packets_of(sound)]
        if not packets:
            raise ValueError("music to hold with is missing: these sounds are empty")
        await self._host.on_media_loop(self._hold(packets))

    async def _hold(self, packets: list[bytes]) -> None:
        self.performer.sounding().hold(packets)

    async def resume(self) -> None:
        """See `Call.resume`."""
        await self._host.on_media_loop(self._resume())

    async def _resume(self) -> None:
        self.performer.sounding().resume()

    async def transfer(self, to: str | Handler, options: Mapping[str, str]) -> NoReturn:
        """See `Call.transfer`."""
        await self._host.on_media_loop(self._transfer(to, options))
        while True:
            await asyncio.Event().wait()  # until this handler is stopped, which raises CallEnded here

    async def _transfer(self, to: str | Handler, options: Mapping[str, str]) -> None:
        self.performer.transfer(to, options)


async def packets_of(sound: Sound) -> tuple[bytes, ...]:
    """Return a sound as 20 ms Opus packets.

    Raises:
        FileNotFoundError, ValueError: it is missing or no sound.
        SpeechFailed: the text could not be spoken.
    """
    if isinstance(sound, Spoken):
        return await voice.say(sound.text)
    return await asyncio.to_thread(sounds.load, sound)
