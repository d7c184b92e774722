"""Scenario files: what people do towards the business, step by step, and what must come of it (docs/simulator.md)."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from simulator.keypad import KEYS
from simulator.people import Person
from simulator.permissions import LASTS_S

Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class BadScript(ValueError):
    """Says what is wrong with a scenario file, naming table and key."""


class Consumer(Person, kw_only=True):
    """A table `[consumer.NAME]`: a person and how they behave."""

    psid: str | None = None


class Step(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """A table `[[step]]`; `consumer` may be left out where there is only one."""

    consumer: str | None = None


class Behave(Person, kw_only=True, tag_field="do", tag="behave"):
    """Lets the person behave otherwise from now on; what is left out is as for everybody."""

    consumer: str | None = None


class Permission(Step, kw_only=True, tag="permission"):
    """Grants or takes back the permission to call the person."""

    granted: bool
    may_call: bool | None = None
    expires_in_s: float = LASTS_S


class Ring(Step, kw_only=True, tag="call"):
    """Lets the person call the business."""

    hang_up_after_s: Seconds | None = None
    give_up_after_s: Seconds | None = None


class AwaitCall(Step, kw_only=True, tag="await_call"):
    """Waits until the business has called the person."""

    within_s: Seconds = 30.0


class AwaitMessage(Step, kw_only=True, tag="await_message"):
    """Waits until the business has written to the person."""

    text: str | None = None
    """What the text contains."""
    template: str | None = None
    within_s: Seconds = 30.0


class Wait(Step, kw_only=True, tag="wait"):
    """Waits until the person's call is connected or has ended."""

    until: Literal["connected", "ended"]
    within_s: Seconds = 30.0


class Say(Step, kw_only=True, tag="say"):
    """Lets the person say something else."""

    tone_hz: float | None = None
    sound: str | None = None
    loop: bool = True


class Press(Step, kw_only=True, tag="press"):
    """Presses keys on the dial pad."""

    digits: Annotated[str, msgspec.Meta(pattern=f"^[{KEYS}]+$")]


class Switch(Step, kw_only=True, tag="switch"):
    """Switches the camera or the microphone."""

    video: bool | None = None
    muted: bool | None = None


class Pause(Step, kw_only=True, tag="pause"):
    """Lets time pass."""

    seconds: Seconds


class HangUp(Step, kw_only=True, tag="hang_up"):
    """Hangs up."""


class Expect(Step, kw_only=True, tag="expect"):
    """Says what must be true of the person's latest call now."""

    outcome: Literal["completed", "unanswered", "failed"] | None = None
    ended_by: Literal["consumer", "business", "timeout"] | None = None
    heard_hz: float | None = None
    tolerance_hz: float = 5.0
    min_heard_s: Seconds | None = None
    max_lost_packets: int | None = None
    heard_digits: str | None = None
    min_frames_seen: int | None = None
    metrics: bool | None = None
    """Whether the business has handed in metrics."""


AnyStep = Behave | Permission | Ring | AwaitCall | AwaitMessage | Wait | Say | Press | Switch | Pause | HangUp | Expect
IN_A_CALL = (Wait, Say, Press, Switch, HangUp, Expect)


class Script(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A whole file."""

    title: str
    consumer: dict[str, Consumer] = msgspec.field(default_factory=lambda: {"caller": Consumer()})
    step: Annotated[list[AnyStep], msgspec.Meta(min_length=1)]


def read(path: Path) -> Script:
    """Reads a scenario file; raises `BadScript` with everything a person needs to mend it."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadScript(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadScript(f"{path} is no TOML: {error}") from error
    try:
        script = msgspec.convert(tables, Script)
    except msgspec.ValidationError as error:
        raise BadScript(f"{path}: {_explained(str(error), tables)}") from error
    _check(script, path)
    return script


def _check(script: Script, path: Path) -> None:
    """Makes sure that every step is about somebody, and about a call where it must be; fills in who."""
    called: set[str] = set()
    names = ", ".join(script.consumer)
    for number, step in enumerate(script.step, 1):
        place = f"{path}: [[step]] number {number} ({kind(step)})"
        if step.consumer is None:
            if len(script.consumer) != 1:
                raise BadScript(f"{place}, key consumer: is missing, and there are several: {names}")
            step.consumer = next(iter(script.consumer))
        if step.consumer not in script.consumer:
            raise BadScript(f"{place}, key consumer: there is no table [consumer.{step.consumer}], only {names}")
        if isinstance(step, Ring | AwaitCall):
            called.add(step.consumer)
        elif isinstance(step, IN_A_CALL) and step.consumer not in called:
            raise BadScript(f"{place}: {step.consumer} has no call yet; a step call or await_call must come before")


def kind(step: AnyStep) -> str:
    """Returns what a step does, as the file has it."""
    return str(step.__struct_config__.tag)


def _explained(message: str, tables: dict[str, Any]) -> str:
    """Turns msgspec's path into the table and key of the file."""
    what, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    unknown = re.match(r"Object (?:contains unknown|missing required) field `(\w+)`", what)
    table, key = "the top of the file", path
    if inside := re.match(r"step\[(\d+)\]\.?(.*)", path):
        number = int(inside[1])
        does = tables["step"][number].get("do", "no do") if isinstance(tables["step"][number], dict) else "no table"
        table, key = f"[[step]] number {number + 1} ({does})", inside[2]
    elif inside := re.match(r"consumer\[\.\.\.\]\.?(.*)", path):
        table, key = "[consumer]", inside[1]
    key = unknown[1] if unknown else key
    said = "is unknown" if "unknown field" in what else "is missing" if "missing required" in what else what
    return f"{table}, key {key}: {said}" if key else f"{table}: {said}"
