"""Bots at the end of a WebSocket: each protocol translates what is heard and said, and one pump moves it."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from shared import outward
from shared.handling import Call
from shared.streaming import Speech
from shared.streams.openai import OpenAI
from shared.streams.pcm import Pcm
from shared.streams.pump import Translator, named, pump
from shared.streams.twilio import Twilio

SCHEMES: Final = ("ws", "wss")


async def run(
    call: Call,
    url: str,
    *,
    protocol: Speech,
    parameters: Mapping[str, str],
    secret: str,
    account: str,
    connect_timeout_s: float,
) -> None:
    """See `Call.stream`."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"call {call.id}: {named(url)} is no bot's address: it has to begin with wss:// or ws://")
    outward.check(url, f"call {call.id}: the bot's URL")
    translator: Translator
    match protocol:
        case "twilio":
            translator = Twilio(call.id, url, parameters, token=secret, account=account)
        case "pcm16k" | "pcm24k":
            translator = Pcm(call, 16000 if protocol == "pcm16k" else 24000, parameters, token=secret)
        case "openai":
            translator = OpenAI(parameters, key=secret)
        case _:
            raise ValueError(f"call {call.id}: there is no protocol {protocol!r}: twilio, pcm16k, pcm24k or openai")
    await pump(call, url, translator, connect_timeout_s=connect_timeout_s)
