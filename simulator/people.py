"""The people behind the PSIDs: how each answers a request and a ringing phone, and what they say."""

import asyncio
from pathlib import Path

import msgspec

from simulator import sound
from simulator.phone import Phone
from simulator.settings import OptinReply, Pickup, Settings


class Unplayable(ValueError):
    """Says that a sound file cannot be played, and why."""


class Speech(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a person says: a tone, a sound file, or else the recorded caller."""

    tone_hz: float | None = None
    sound: str | None = None
    loop: bool = True


class Person(Speech, kw_only=True):
    """How a person behaves whom the business writes to or calls."""

    optin_reply: OptinReply = "approve"
    """What becomes of a permission request."""
    optin_after_ms: float = 200.0
    pickup: Pickup = "answer"
    """`ignore` rings in vain; `unreachable` does not even ring."""
    pickup_after_ms: float = 1000.0
    """Counted from the first ring; a `decline` takes as long."""
    hang_up_after_s: float | None = None
    """Counted from when both can hear each other."""
    window_open: bool = True
    """Whether the business may write, for the person has written within 24 hours."""


class People:
    """Keeps how everybody behaves; whoever was not told otherwise is as the settings say."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._everybody = Person(optin_reply=settings.optin_reply, pickup=settings.pickup)
        self._kept: dict[str, Person] = {}

    def person(self, psid: str) -> Person:
        """Returns how this person behaves."""
        return self._kept.get(psid, self._everybody)

    def tell(self, psid: str | None, person: Person) -> None:
        """Sets how a person behaves from now on; None: everybody who was not told on their own."""
        if psid is None:
            self._everybody = person
        else:
            self._kept[psid] = person

    def view(self) -> dict[str, Person]:
        """Lists who was told how to behave; everybody else is `*`."""
        return {"*": self._everybody} | self._kept

    async def phone(self, speech: Speech) -> Phone:
        """Puts a phone into somebody's hand; raises `Unplayable`."""
        return Phone(
            await playlist(speech),
            media_addresses=self._settings.media_addresses,
            media_timeout_s=self._settings.media_timeout_s,
            recording_limit_s=self._settings.recording_limit_s,
        )


async def playlist(speech: Speech) -> sound.Playlist:
    """Encodes what somebody says; raises `Unplayable`."""
    source = speech.tone_hz if speech.tone_hz is not None else Path(speech.sound or sound.CALLER_WAV)
    try:
        return await asyncio.to_thread(sound.playlist, source, loop=speech.loop)
    except (OSError, ValueError, LookupError) as error:  # missing, not a sound, without an audio stream
        raise Unplayable(f"The sound file cannot be played: {error}") from error
