"""Texts as sounds: what `play` and `ask` take beside files, and the verb of a `Call` for it."""

from dataclasses import dataclass


class SpeechFailed(Exception):
    """A text could not be spoken: there is no program for it (`TTS_COMMAND`), or it failed; the text says why."""


@dataclass(frozen=True)
class Spoken:
    """A text to be spoken by the program of `TTS_COMMAND`; wherever a sound is played."""

    text: str


class Speaking:
    """The verb of a `Call` that speaks."""

    async def play(self, *sounds: Spoken) -> None:
        """See `Call.play`."""
        raise NotImplementedError

    async def say(self, text: str) -> None:
        """Speak a text, as `play(Spoken(text))` does; each text is made once and kept.

        Raises:
            SpeechFailed: there is no program that speaks, or it failed.
        """
        await self.play(Spoken(text))
