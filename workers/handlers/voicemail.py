"""Take voicemail: a greeting, a beep, a recording that ends by itself; then a note beside the file, and a webhook.

The note is written first and stays: what the webhook's receiver did not get is not lost.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import fsspec
import httpx
import msgspec
import stamina

from pageline import Call, outward
from pageline.playable import check_sound
from pageline.signing import signed
from workers.handlers import environment

_SOUNDS = files("workers.handlers") / "sounds"
LEAVE_A_MESSAGE: Final = str(_SOUNDS / "leave_a_message.ogg")
BEEP: Final = str(_SOUNDS / "beep.ogg")
GOODBYE: Final = str(_SOUNDS / "goodbye.ogg")
NO_LONGER_S: Final = 0.1
"""Than the greeting, a key is waited for."""
TOLD_WITHIN_S: Final = 4.0
"""A handler whose caller has gone has five seconds left."""


@dataclass(frozen=True)
class Terms:
    """On what terms voicemail is taken."""

    greeting: str = LEAVE_A_MESSAGE
    longest_s: float = 120.0
    silence_s: float = 4.0
    """Who says nothing for so long is done."""
    webhook_url: str = ""
    webhook_secret: str = field(default="", repr=False)
    """Signs what the webhook is told; as it is, or base64 behind `whsec_`."""


TERMS: Final = Terms(
    environment.text("VOICEMAIL_GREETING", LEAVE_A_MESSAGE),
    environment.seconds("VOICEMAIL_SECONDS", Terms.longest_s),
    environment.seconds("VOICEMAIL_SILENCE_SECONDS", Terms.silence_s),
    environment.url("VOICEMAIL_WEBHOOK_URL"),
    environment.signing_secret("VOICEMAIL_WEBHOOK_SECRET"),
)


@dataclass
class Voicemail:
    """What the note and the webhook tell."""

    call_id: str
    page: str
    caller: str
    path: str
    at: str
    """When the recording began, ISO 8601."""
    seconds: float = 0.0
    spoken: bool = False
    """Whether anything was said, as far as its loudness tells."""
    ended_by: str = "caller"
    """`silence`, `key`, `limit`, or the `caller` who hung up."""


async def answer(call: Call) -> None:
    """Take voicemail and say goodbye."""
    await call.answer()
    await take_voicemail(call)


def check_options(options: Mapping[str, str]) -> None:
    """Look whether the greeting of a Page's own, `voicemail_greeting`, can be played.

    Raises:
        ValueError: it cannot.
    """
    if greeting := options.get("voicemail_greeting"):
        try:
            check_sound(greeting)
        except ValueError as error:
            raise ValueError(f"voicemail_greeting: {error}") from error


async def on_lost(call: Call) -> None:
    """Note that voicemail was cut off: the worker that took it died, and the file is where that one wrote it."""
    call.log.warning("voicemail.cut_off")


async def take_voicemail(call: Call, terms: Terms = TERMS) -> None:
    """Take voicemail in a call that was answered, and say goodbye."""
    greeting = call.options.get("voicemail_greeting") or terms.greeting
    await call.announce_recording()  # before the beep, not after it
    await call.ask(greeting, timeout_s=NO_LONGER_S, finish_on="")  # a key skips the greeting
    await call.play(BEEP)
    now_s = asyncio.get_running_loop().time
    voicemail, began_s = None, now_s()
    try:
        async with call.record() as recording:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            voicemail = Voicemail(call.id, call.page, call.caller, recording.path, at)
            voicemail.ended_by = await _recorded(call, voicemail, terms)
    finally:
        if voicemail is not None:
            voicemail.seconds = round(now_s() - began_s, 1)
            await _keep(call, voicemail, terms)
    await call.play(GOODBYE)


async def _recorded(call: Call, voicemail: Voicemail, terms: Terms) -> str:
    """Wait until the caller is done, and return what tells so."""
    listening = asyncio.create_task(_fell_silent(call, voicemail, terms))
    pressing = asyncio.create_task(call.ask(timeout_s=terms.longest_s, finish_on=""))
    try:
        await asyncio.wait({listening, pressing}, timeout=terms.longest_s, return_when=asyncio.FIRST_COMPLETED)
        if pressing.done() and pressing.result():
            return "key"
        return "silence" if listening.done() and listening.result() else "limit"
    finally:
        listening.cancel()
        pressing.cancel()


async def _fell_silent(call: Call, voicemail: Voicemail, terms: Terms) -> bool:
    voicemail.spoken = await call.speech(timeout_s=terms.silence_s)
    return not voicemail.spoken or await call.silence(terms.silence_s, timeout_s=terms.longest_s)


async def _keep(call: Call, voicemail: Voicemail, terms: Terms) -> None:
    body = msgspec.json.encode(voicemail)
    call.log.info(
        "voicemail.taken",
        path=voicemail.path,
        seconds=voicemail.seconds,
        spoken=voicemail.spoken,
        ended_by=voicemail.ended_by,
    )
    steps = [("voicemail.note_not_written", asyncio.to_thread(_write, voicemail.path + ".json", body))]
    if terms.webhook_url:
        id_ = f"voicemail_{Path(voicemail.path).stem}"
        headers = signed(terms.webhook_secret, id_, body, at_s=int(time.time()))
        steps.append(("voicemail.not_told", _tell(terms.webhook_url, body, headers)))
    async with asyncio.TaskGroup() as both:
        for failed, step in steps:
            both.create_task(_in_time(call, voicemail, step, failed))


async def _in_time(call: Call, voicemail: Voicemail, step: Coroutine[Any, Any, None], failed: str) -> None:
    try:
        async with asyncio.timeout(TOLD_WITHIN_S):
            await step
    except Exception as error:  # noqa: BLE001 stores and URLs raise what they like, and the call goes on
        call.log.error(failed, path=voicemail.path, error=f"{type(error).__name__}: {error}")


def _write(where: str, body: bytes) -> None:
    if "://" in where:
        system, path = fsspec.core.url_to_fs(where)
        system.pipe_file(path, body)
    else:
        Path(where).touch(mode=0o600)
        Path(where).write_bytes(body)


@stamina.retry(on=httpx.HTTPError, attempts=3, timeout=TOLD_WITHIN_S, wait_initial=0.2, wait_max=1.0)
async def _tell(url: str, body: bytes, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(timeout=TOLD_WITHIN_S, trust_env=False) as client:
        reply = await _post(client, url, body, {"content-type": "application/json", **headers})
        if not reply.is_success:  # httpx's own words quote the URL, which may hold a secret
            said = f"VOICEMAIL_WEBHOOK_URL answered {reply.status_code}"
            raise httpx.HTTPStatusError(said, request=reply.request, response=reply)


async def _post(client: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    """Post to the first of the receiver's addresses that answers."""
    try:
        *others, last = await outward.pin(url, "VOICEMAIL_WEBHOOK_URL")
    except OSError as error:
        raise httpx.ConnectError(str(error)) from error
    for to in others:
        with contextlib.suppress(httpx.ConnectError):
            return await client.post(to.url, content=body, headers=headers | to.headers, extensions=to.extensions)
    return await client.post(last.url, content=body, headers=headers | last.headers, extensions=last.extensions)
