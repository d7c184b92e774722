"""Runs a scenario against the business, by the same routes that a test would use."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from simulator.script import (
    AnyStep,
    AwaitCall,
    AwaitMessage,
    Behave,
    Expect,
    HangUp,
    Pause,
    Permission,
    Press,
    Ring,
    Say,
    Script,
    Switch,
    Wait,
    kind,
)

LOOK_EVERY_S = 0.05


class Missed(Exception):
    """Says that something did not happen as the scenario has it."""


class Rehearsal:
    """Plays one script."""

    def __init__(self, script: Script, client: httpx.AsyncClient, say: Callable[[str], None]) -> None:
        self._script = script
        self._client = client
        self._say = say
        self._calls: dict[str, str] = {}
        self._seen: set[str] = set()
        self._read: set[str] = set()

    async def run(self) -> dict[str, Any]:
        """Plays every step; after one that could not be done, the rest is left out. Returns the report."""
        self._say(self._script.title)
        psid = (await self._get("/sim/about"))["psid"]
        for number, consumer in enumerate(self._script.consumer.values()):
            # everybody needs a number of their own, which the first may have from the settings
            consumer.psid = consumer.psid or (psid if number == 0 else f"{psid}{number}")
            await self._post("/sim/consumers", consumer)
        self._seen = {call["call_id"] for call in await self._get("/sim/calls")}
        self._read = {message["message_id"] for message in await self._get("/sim/messages")}
        steps: list[dict[str, Any]] = []
        for number, step in enumerate(self._script.step, 1):
            began_s = time.monotonic()
            missed = await self._play(step)
            took_s = round(time.monotonic() - began_s, 3)
            steps.append(
                {"number": number, "do": kind(step), "consumer": step.consumer, "missed": missed, "took_s": took_s}
            )
            told = f"  {number:2}/{len(self._script.step)} {step.consumer}: {kind(step)}"
            self._say(f"{told}  {took_s:.1f} s" if missed is None else f"{told}  MISSED: {missed}")
            if missed is not None and not isinstance(step, Expect):
                break
        passed = all(step["missed"] is None for step in steps) and len(steps) == len(self._script.step)
        self._say("passed" if passed else "FAILED")
        calls = {name: await self._get(f"/sim/calls/{call_id}") for name, call_id in self._calls.items()}
        return {"scenario": self._script.title, "passed": passed, "steps": steps, "calls": calls}

    async def _play(self, step: AnyStep) -> str | None:
        try:
            await self._do(step, str(step.consumer))
        except (Missed, TimeoutError) as missed:
            return str(missed) or "it took too long"
        return None

    async def _do(self, step: AnyStep, who: str) -> None:
        psid = self._script.consumer[who].psid
        match step:
            case Behave():
                await self._post("/sim/consumers", _fields(step) | {"psid": psid})
            case Permission():
                await self._post("/sim/permissions", _fields(step) | {"psid": psid})
            case Ring():
                speech = {name: getattr(self._script.consumer[who], name) for name in ("tone_hz", "sound", "loop")}
                created = await self._post("/sim/calls", speech | _fields(step) | {"psid": psid})
                self._calls[who] = created["call_id"]
                self._seen.add(created["call_id"])
            case AwaitCall(within_s=within_s):
                async with asyncio.timeout(within_s):
                    self._calls[who] = await self._next_call(str(psid))
            case AwaitMessage(within_s=within_s):
                async with asyncio.timeout(within_s):
                    await self._next_message(str(psid), step)
            case Wait(until=until, within_s=within_s):
                call = await self._get(f"/sim/calls/{self._calls[who]}/wait?state={until}&timeout_s={within_s}")
                if call["state"] != until:
                    raise Missed(f"the call is {call['state']}" + (f": {call['in_vain']}" if call["in_vain"] else ""))
            case Say():
                await self._post(f"/sim/calls/{self._calls[who]}/say", _fields(step))
            case Press():
                await self._post(f"/sim/calls/{self._calls[who]}/digits", _fields(step))
            case Switch():
                await self._post(f"/sim/calls/{self._calls[who]}/media-update", _fields(step))
            case Pause(seconds=seconds):
                await asyncio.sleep(seconds)
            case HangUp():
                await self._post(f"/sim/calls/{self._calls[who]}/hangup", {})
            case Expect():
                if wrong := differences(step, await self._get(f"/sim/calls/{self._calls[who]}")):
                    raise Missed("; ".join(wrong))

    async def _next_call(self, psid: str) -> str:
        while True:
            for call in await self._get("/sim/calls"):
                outbound = call["direction"] == "business_initiated" and call["psid"] == psid
                if outbound and call["call_id"] not in self._seen:
                    self._seen.add(call["call_id"])
                    return str(call["call_id"])
            await asyncio.sleep(LOOK_EVERY_S)

    async def _next_message(self, psid: str, wanted: AwaitMessage) -> None:
        while True:
            for message in await self._get("/sim/messages"):
                said = message["message"]
                template = said.get("attachment", {}).get("payload", {}).get("template_type")
                fits = (wanted.text is None or wanted.text in said.get("text", "")) and (
                    wanted.template in (None, template)
                )
                if fits and message["psid"] == psid and message["message_id"] not in self._read:
                    self._read.add(message["message_id"])
                    return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _get(self, path: str) -> Any:
        return (await self._client.get(path)).raise_for_status().json()

    async def _post(self, path: str, body: object) -> Any:
        answer = await self._client.post(path, content=msgspec.json.encode(body))
        if answer.is_error:
            raise Missed(answer.json()["error"])
        return answer.json() if answer.content else None


def differences(wanted: Expect, call: dict[str, Any]) -> list[str]:
    """Lists in sentences what is not as expected."""
    heard, seen, outcome = call["heard"], call["seen"], _outcome(call)
    found: list[str] = []

    def hold(fact: bool, otherwise: str) -> None:
        if not fact:
            found.append(otherwise)

    hold(wanted.outcome in (None, outcome), f"the outcome is {outcome}, not {wanted.outcome}")
    hold(wanted.ended_by in (None, call["ended_by"]), f"ended by {call['ended_by']}, not {wanted.ended_by}")
    if wanted.heard_hz is not None:
        off_hz = abs((heard["dominant_hz"] or 0) - wanted.heard_hz)
        hold(off_hz <= wanted.tolerance_hz, f"heard {heard['dominant_hz']} Hz, not {wanted.heard_hz} Hz")
    if wanted.min_heard_s is not None:
        hold(heard["seconds"] >= wanted.min_heard_s, f"heard {heard['seconds']:.1f} s, not {wanted.min_heard_s} s")
    if wanted.max_lost_packets is not None:
        lost = heard["lost_packets"]
        hold(lost <= wanted.max_lost_packets, f"{lost} packets were lost, more than {wanted.max_lost_packets}")
    digits = heard["digits"]
    hold(wanted.heard_digits in (None, digits), f"heard the digits {digits!r}, not {wanted.heard_digits!r}")
    if wanted.min_frames_seen is not None:
        hold(seen["frames"] >= wanted.min_frames_seen, f"saw {seen['frames']} pictures, not {wanted.min_frames_seen}")
    handed_in = call["metrics"] is not None
    hold(wanted.metrics in (None, handed_in), "metrics were handed in" if handed_in else "no metrics were handed in")
    return found


def _outcome(call: dict[str, Any]) -> str | None:
    if call["state"] != "ended":
        return None
    if call["status"] == "Failed":
        return "failed"
    return "completed" if call["connected_ms"] is not None else "unanswered"


def _fields(step: AnyStep) -> dict[str, Any]:
    """Returns what a step says beside what it does and who does it."""
    told: dict[str, Any] = msgspec.to_builtins(step)
    return {name: value for name, value in told.items() if name not in ("do", "consumer") and value is not None}
