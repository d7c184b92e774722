"""What a consumer hears whose call we have to end: that it has to, or that something went wrong."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared.errors import BadSetting
from workers.media import sounds
from workers.media.live_call import LiveCall
from workers.media.ticker import TICK_S

LAST_WORDS: Final = sounds.load(Path(__file__).with_name("last_words.ogg"))


def apology(path: str = "") -> tuple[bytes, ...]:
    """Return the sound of `FALLBACK_PROMPT`, or ours.

    Raises:
        BadSetting: it is none.
    """
    try:
        return sounds.load(path or Path(__file__).with_name("apology.ogg"))
    except (OSError, ValueError) as error:
        raise BadSetting(f"FALLBACK_PROMPT={path} cannot be played: {error}") from error


async def say(live: LiveCall | None, words: Sequence[bytes]) -> None:
    """Say them over all else, and return when they were heard; nothing where nobody listens."""
    if live is not None and live.leg.live:
        live.say_last_words(words)
        await asyncio.sleep(len(words) * TICK_S)
