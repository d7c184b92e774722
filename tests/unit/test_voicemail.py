"""Voicemail: how a message ends, what is kept of it, and who is told."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pageline import Call
from pageline.testing import Conversation
from tests.unit.test_documented_handlers import EXAMPLES
from workers.handlers import environment
from workers.handlers.voicemail import BEEP, GOODBYE, LEAVE_A_MESSAGE, TERMS, Terms, _write, on_lost, take_voicemail


class Office:
    """Whoever is told of messages; it can be slow of understanding."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.signed: list[tuple[dict[str, str], bytes]] = []
        self.refusals = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        given = (await reader.readuntil(b"\r\n\r\n")).decode()
        head = given.lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        body = await reader.readexactly(length)
        self.told.append(json.loads(body))
        self.signed.append((dict(line.split(": ", 1) for line in given.split("\r\n")[1:-2]), body))
        status = "503 Service Unavailable" if len(self.told) <= self.refusals else "204 No Content"
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office()
    async with await asyncio.start_server(office.serve, "127.0.0.1") as server:
        office.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/messages"
        yield office


class Machine:
    """The handler on terms of the test's."""

    def __init__(self, **terms: Any) -> None:
        self.terms = replace(TERMS, **terms)

    async def answer(self, call: Call) -> None:
        await call.answer()
        await take_voicemail(call, self.terms)


def note_of(talk: Conversation) -> dict[str, Any]:
    (path,) = talk.recordings
    note: dict[str, Any] = json.loads(Path(path + ".json").read_text())
    assert note["path"] == path
    assert Path(path).stat().st_size > 0
    assert Path(path + ".json").stat().st_mode & 0o777 == 0o600
    return note


async def test_a_message_ends_with_silence_and_is_kept_and_told(office: Office, tmp_path: Path) -> None:
    machine = Machine(webhook_url=office.url)
    async with Conversation(machine.answer, caller="psid", page="106", recordings=tmp_path) as talk:
        await talk.hears(BEEP)
        await talk.wait(2)
        await talk.speak(3)
        await talk.hears(GOODBYE)
        assert await talk.ended() == "completed"
    assert talk.heard == [LEAVE_A_MESSAGE, BEEP, GOODBYE]
    note = note_of(talk)
    assert (note["caller"], note["page"], note["spoken"], note["ended_by"]) == ("psid", "106", True, "silence")
    assert note["seconds"] == pytest.approx(2 - 0.5 + 3 + 4, abs=0.3)
    assert office.told == [note]


@pytest.mark.parametrize("secret", ["s3cret", "whsec_" + base64.b64encode(b"s3cret").decode()])
async def test_a_note_is_signed_so_that_the_documented_receiver_knows_it(office: Office, secret: str) -> None:
    receiver: dict[str, Any] = {}
    exec(EXAMPLES["receiver"], receiver)  # noqa: S102 our own document
    office.refusals = 1
    async with Conversation(Machine(webhook_url=office.url, webhook_secret=secret).answer) as talk:
        await talk.hears(GOODBYE)
    (first, _), (second, body) = office.signed
    assert receiver["is_ours"](b"s3cret", second, body)
    assert not receiver["is_ours"](b"s3cret", second, body + b" ")
    assert not receiver["is_ours"](b"other", second, body)
    assert first["webhook-id"] == second["webhook-id"], "so that a receiver knows it as the same"


async def test_who_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    async with Conversation(Machine().answer, recordings=tmp_path) as talk:
        await talk.hears(GOODBYE)
    note = note_of(talk)
    assert (note["spoken"], note["ended_by"], note["seconds"]) == (False, "silence", pytest.approx(4, abs=0.1))


async def test_who_never_stops_is_thanked_at_the_limit(tmp_path: Path) -> None:
    async with Conversation(Machine(longest_s=30.0).answer, recordings=tmp_path) as talk:
        await talk.hears(BEEP)
        await talk.speak(60)
        await talk.hears(GOODBYE)
    note = note_of(talk)
    assert (note["spoken"], note["ended_by"], note["seconds"]) == (True, "limit", pytest.approx(30, abs=0.1))


async def test_a_key_ends_it(tmp_path: Path) -> None:
    async with Conversation(Machine().answer, recordings=tmp_path) as talk:
        await talk.hears(BEEP)
        await talk.wait(1)
        await talk.speak(2)
        await talk.press("#")
        await talk.hears(GOODBYE)
    assert note_of(talk)["ended_by"] == "key"


async def test_a_key_skips_the_greeting_and_ends_nothing(tmp_path: Path) -> None:
    async with Conversation(Machine().answer, recordings=tmp_path) as talk:
        await talk.hears(LEAVE_A_MESSAGE)
        await talk.wait(1)
        await talk.press("1")
        await talk.hears(BEEP, within_s=0)
        await talk.hears(GOODBYE)
    assert note_of(talk)["ended_by"] == "silence"


async def test_a_message_of_who_hangs_up_is_kept_and_told(office: Office, tmp_path: Path) -> None:
    async with Conversation(Machine(webhook_url=office.url).answer, recordings=tmp_path) as talk:
        await talk.hears(BEEP)
        await talk.speak(3)
        await talk.hang_up()
        await talk.ended()
    note = note_of(talk)
    assert (note["spoken"], note["ended_by"]) == (True, "caller")
    assert office.told == [note]
    assert GOODBYE not in talk.heard


async def test_who_hangs_up_before_the_beep_has_left_none(office: Office) -> None:
    async with Conversation(Machine(webhook_url=office.url).answer) as talk:
        await talk.hears(LEAVE_A_MESSAGE)
        await talk.hang_up()
        await talk.ended()
    assert talk.recordings == []
    assert office.told == []


async def test_a_receiver_that_stumbles_is_told_again(office: Office) -> None:
    office.refusals = 1
    async with Conversation(Machine(webhook_url=office.url).answer) as talk:
        await talk.ended()
    assert [told["ended_by"] for told in office.told] == ["silence"] * 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://["])
async def test_where_nobody_is_told_the_note_is_there_all_the_same(url: str, tmp_path: Path) -> None:
    async with Conversation(Machine(webhook_url=url).answer, recordings=tmp_path) as talk:
        await talk.speak(2)
        assert await talk.ended() == "completed"
    note_of(talk)
    assert talk.heard[-1] == GOODBYE


async def test_a_call_that_was_lost_with_its_worker_is_noted() -> None:
    async with Conversation(on_lost) as talk:
        await talk.ended()


def test_lengths_of_time_are_settings_and_a_wrong_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Terms() == TERMS
    monkeypatch.setenv("VOICEMAIL_SECONDS", "30.5")
    assert environment.seconds("VOICEMAIL_SECONDS", 120) == 30.5
    for wrong in ("soon", "0", "-1", "inf", "nan"):
        monkeypatch.setenv("VOICEMAIL_SECONDS", wrong)
        with pytest.raises(ValueError, match=f"^VOICEMAIL_SECONDS={wrong} is not usable: write seconds"):
            environment.seconds("VOICEMAIL_SECONDS", 120)


def test_a_webhook_without_a_scheme_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEMAIL_WEBHOOK_URL", "office.example/messages")
    with pytest.raises(ValueError, match=r"^VOICEMAIL_WEBHOOK_URL=office.example/messages is not usable: .*https://"):
        environment.url("VOICEMAIL_WEBHOOK_URL")


@pytest.mark.parametrize(("given", "usable"), [("s3cret", True), ("whsec_czNjcmV0", True), ("whsec_!", False)])
def test_a_secret_that_signs_nothing_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, given: str, usable: bool
) -> None:
    monkeypatch.setenv("VOICEMAIL_WEBHOOK_SECRET", given)
    if usable:
        assert environment.signing_secret("VOICEMAIL_WEBHOOK_SECRET") == given
        return
    with pytest.raises(ValueError, match="VOICEMAIL_WEBHOOK_SECRET is not usable") as refused:
        environment.signing_secret("VOICEMAIL_WEBHOOK_SECRET")
    assert given not in str(refused.value)


def test_a_note_goes_to_the_store_that_the_recording_goes_to() -> None:
    _write("memory://calls/c_1-1.opus.json", b"{}")
    assert fsspec.filesystem("memory").cat_file("/calls/c_1-1.opus.json") == b"{}"
