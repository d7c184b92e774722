"""Let a bot talk with the caller over a WebSocket; where it cannot, or breaks off, somebody else takes the call.

A bot that breaks off is called once more. `VOICE_AI_URL` names it, and the protocol is one of `Call.stream`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, cast, get_args

from pageline import Call, Speech, StreamFailed, outward
from workers.handlers import environment
from workers.handlers.voicemail import GOODBYE, take_voicemail

TRIES: Final = 2


@dataclass(frozen=True)
class Terms:
    """Which bot, and what is done without it."""

    url: str
    protocol: Speech = "twilio"
    parameters: dict[str, str] = field(default_factory=dict)
    secret: str = field(default="", repr=False)
    account: str = ""
    fallback: str = "voicemail"
    """Or `goodbye`."""


def configured(options: Mapping[str, str] = MappingProxyType({})) -> Terms:
    """Return what the environment says, and instead of it the options `voice_ai_url` and `voice_ai_parameters`.

    Raises:
        ValueError: it cannot be used; the message names the setting.
    """
    url = options.get("voice_ai_url") or environment.text("VOICE_AI_URL")
    if not url.startswith(("ws://", "wss://")):
        raise ValueError("VOICE_AI_URL (or voice_ai_url) is not usable: write a URL that begins with wss:// or ws://")
    outward.check(url, "VOICE_AI_URL (or voice_ai_url)")
    protocol = environment.choice("VOICE_AI_PROTOCOL", *get_args(Speech))
    twilio = protocol == "twilio"
    return Terms(
        url,
        cast("Speech", protocol),
        _parameters(options.get("voice_ai_parameters") or environment.text("VOICE_AI_PARAMETERS", "{}")),
        environment.text("STREAM_AUTH_TOKEN" if twilio else "VOICE_AI_KEY"),
        environment.text("STREAM_ACCOUNT_SID"),
        environment.choice("VOICE_AI_FALLBACK", "voicemail", "goodbye"),
    )


def _parameters(given: str) -> dict[str, str]:
    try:
        parameters = json.loads(given)
    except ValueError:
        parameters = None
    if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
        raise ValueError('VOICE_AI_PARAMETERS is not usable: write JSON with texts, such as {"shop": "12"}')
    return parameters


async def answer(call: Call) -> None:
    """Answer, and let the bot of the settings talk."""
    await call.answer()
    await converse(call, configured(call.options))


def check_options(options: Mapping[str, str]) -> None:
    """Look whether the bot can be called with these options.

    Raises:
        ValueError: it cannot.
    """
    configured(options)


async def converse(call: Call, terms: Terms) -> None:
    """Let a bot talk in a call that was answered."""
    for _ in range(TRIES):
        try:
            await call.stream(
                terms.url,
                protocol=terms.protocol,
                parameters=terms.parameters,
                secret=terms.secret,
                account=terms.account,
            )
        except StreamFailed as failed:
            call.log.warning("bot.failed", because=str(failed))
        else:
            return
    if terms.fallback == "voicemail":
        await take_voicemail(call)
    else:
        await call.play(GOODBYE)
