"""The handlers that come with pageline through real processes, to consumers of the simulator with a dial pad."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.calls import facts
from tests.acceptance.line import PIPELINE, ROOT, Line, write_tone
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import until
from tests.unit.test_recorder import dominant_hz
from tests.unit.test_stereo import played

VOICEMAIL = "108812345678981"
MENUS = "108812345678982"
SPEAKS = "108812345678983"
HANDS_OVER = "108812345678984"
RECEPTION = """\
open = { menu = "main" }
[menus.main]
prompt = "tone.wav"
timeout_seconds = 20
keys.1 = { voicemail = true }
keys.2 = { menu = "second" }
[menus.second]
prompt = "tone.wav"
timeout_seconds = 20
keys."#" = { play = "high.wav", hang_up = true }
"""
SPOKEN = str(ROOT / "workers" / "handlers" / "sounds" / "goodbye.ogg")
SPOKEN_S = 3.0
HIGH_HZ = 880
MUSIC_HZ = 440
CONSUMER_HZ = 1200


class Told(NamedTuple):
    """Whoever is told of messages."""

    url: str
    notes: list[dict[str, Any]]


@pytest.fixture(scope="module")
def office() -> Iterator[Told]:
    notes: list[dict[str, Any]] = []

    class Office(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            notes.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Office) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Told(f"http://127.0.0.1:{server.server_port}/", notes)
        server.shutdown()


@pytest.fixture(scope="module")
def simulated() -> SimulatedMeta:
    return SimulatedMeta()


@pytest.fixture(scope="module")
def line(simulated: SimulatedMeta, office: Told, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    settings = {
        "TTS_COMMAND": "cat high.wav",
        "IVR_FILE": "reception.toml",
        "VOICEMAIL_GREETING": "tone.wav",
        "VOICEMAIL_SILENCE_SECONDS": "2",
        "VOICEMAIL_WEBHOOK_URL": office.url,
    }
    with Line(tmp_path_factory.mktemp("handlers"), simulated, **settings) as running:
        with (running.home / "pages.toml").open("a") as tables:
            for page, handler in (
                (VOICEMAIL, "workers.handlers.voicemail:answer"),
                (MENUS, "workers.handlers.ivr:answer"),
                (SPEAKS, "reception:speak"),
            ):
                tables.write(f'[{page}]\ntoken = "x"\nhandler = "{handler}"\n')
            tables.write(f'[{HANDS_OVER}]\ntoken = "x"\nhandler = "reception:stumble"\n')
            tables.write('fallback = ["reception:hand_over"]\n')
            tables.write(f'[[{SPEAKS}.rules]]\ncallers = ["4006"]\nhandler = "workers.handlers.voicemail:answer"\n')
            tables.write('options = { voicemail_greeting = "high.wav" }\n')
        (running.home / "reception.toml").write_text(RECEPTION)
        write_tone(running.home / "high.wav", hz=HIGH_HZ, seconds=3)
        running.processes["sim"] = simulated.start(running.home)
        running.start(*PIPELINE)
        yield running.await_ready()


class Caller:
    """A consumer who has called."""

    def __init__(self, simulated: SimulatedMeta, page: str, psid: str, **how: Any) -> None:
        self._simulated = simulated
        self.psid = psid
        self.call_id: str = simulated.ring(page, psid, **how)["call_id"]

    def press(self, keys: str) -> None:
        self._simulated.press(self.call_id, keys)

    def say_once(self, sound: str) -> None:
        self._simulated.say(self.call_id, sound=sound, loop=False)

    def hang_up(self) -> None:
        self._simulated.hang_up(self.call_id)


def note_from(office: Told, caller: Caller) -> dict[str, Any]:
    """Wait until the office is told of this caller's message, and return what it was told."""
    mine = until(lambda: [note for note in office.notes if note["call_id"] == caller.call_id], "a note", timeout_s=30)
    assert json.loads(Path(mine[0]["path"] + ".json").read_text()) == mine[0]
    assert mine[0]["caller"] == caller.psid
    return mine[0]


def test_a_message_ends_with_silence_and_the_office_is_told(line: Line, simulated: SimulatedMeta, office: Told) -> None:
    caller = Caller(simulated, VOICEMAIL, "4001")
    line.await_fact(caller, facts.RecordingStarted)
    caller.say_once(SPOKEN)
    note = note_from(office, caller)
    assert (note["spoken"], note["ended_by"]) == (True, "silence")
    assert SPOKEN_S < note["seconds"] < 10
    assert Path(note["path"]).stat().st_size > 5_000
    assert line.outcome_of(caller) == "completed"


@pytest.mark.parametrize("ending", ["key", "caller"])
def test_a_message_ends_with_a_key_or_a_hang_up(
    line: Line, simulated: SimulatedMeta, office: Told, ending: str
) -> None:
    caller = Caller(simulated, VOICEMAIL, f"4002-{ending}")
    line.await_fact(caller, facts.RecordingStarted)
    caller.press("1") if ending == "key" else caller.hang_up()
    assert note_from(office, caller)["ended_by"] == ending
    assert line.outcome_of(caller) == "completed"


def test_the_dial_pad_leads_through_menus(line: Line, simulated: SimulatedMeta) -> None:
    caller = Caller(simulated, MENUS, "4003")
    line.await_fact(caller, facts.LegConnected)
    caller.press("2")
    caller.press("#")
    assert simulated.wait(caller.call_id)["heard"]["dominant_hz"] == pytest.approx(HIGH_HZ, abs=5)
    assert line.outcome_of(caller) == "completed"


def test_a_key_of_a_menu_takes_a_message(line: Line, simulated: SimulatedMeta, office: Told) -> None:
    caller = Caller(simulated, MENUS, "4004")
    line.await_fact(caller, facts.LegConnected)
    caller.press("1")
    line.await_fact(caller, facts.RecordingStarted)
    caller.press("1")
    assert note_from(office, caller)["ended_by"] == "key"
    assert line.outcome_of(caller) == "completed"


def test_a_text_is_spoken_and_another_one_is_answered(line: Line, simulated: SimulatedMeta) -> None:
    caller = Caller(simulated, SPEAKS, "4005")
    line.await_fact(caller, facts.LegConnected)
    caller.press("5")
    assert simulated.wait(caller.call_id)["heard"]["dominant_hz"] == pytest.approx(HIGH_HZ, abs=5)
    assert line.outcome_of(caller) == "completed"
    assert (line.home / f"{caller.call_id}.json").read_text() == "5"


def test_a_rule_chooses_the_handler_and_its_options_by_who_calls(line: Line, simulated: SimulatedMeta) -> None:
    caller = Caller(simulated, SPEAKS, "4006")
    line.await_fact(caller, facts.RecordingStarted)
    caller.hang_up()
    assert line.await_fact(caller, facts.HandlerStarted).handler == "workers.handlers.voicemail:answer"
    assert simulated.wait(caller.call_id)["heard"]["dominant_hz"] == pytest.approx(HIGH_HZ, abs=5)


def test_a_call_goes_from_a_handler_that_raised_to_hold_and_from_there_to_the_answering_machine(
    line: Line, simulated: SimulatedMeta, office: Told
) -> None:
    caller = Caller(simulated, HANDS_OVER, "4007")
    both = line.await_fact(caller, facts.RecordingStarted)
    simulated.say(caller.call_id, tone_hz=CONSUMER_HZ)
    until(lambda: heard_s(simulated, caller) > 2, "two seconds of music")
    caller.press("1")
    until(lambda: len(started(line, caller)) == 3, "the answering machine")
    until(lambda: heard_s(simulated, caller) > 6, "the greeting")
    caller.hang_up()
    assert simulated.wait(caller.call_id)["heard"]["dominant_hz"] == pytest.approx(HIGH_HZ, abs=5)
    assert line.outcome_of(caller) == "completed"
    assert started(line, caller) == ["reception:stumble", "reception:hand_over", "workers.handlers.voicemail:answer"]
    replaced = [fact for fact in line.log_of(caller.call_id) if isinstance(fact, facts.HandlerReplaced)]
    assert [fact.because for fact in replaced] == ["raised", "transferred"]
    assert "in stumble" in replaced[0].traceback
    consumer, us = played(line.home / both.path)
    assert dominant_hz(us) == pytest.approx(MUSIC_HZ, abs=5)
    assert dominant_hz(consumer[-len(consumer) // 3 :]) == pytest.approx(CONSUMER_HZ, abs=5)


def heard_s(simulated: SimulatedMeta, caller: Caller) -> float:
    return float(simulated.view(caller.call_id)["heard"]["seconds"] or 0)


def started(line: Line, caller: Caller) -> list[str]:
    return [fact.handler for fact in line.log_of(caller.call_id) if isinstance(fact, facts.HandlerStarted)]


def test_a_file_with_a_mistake_is_told_at_the_start_with_its_line(line: Line) -> None:
    (line.home / "mistake.toml").write_text(RECEPTION.replace('"second" }', '"sekond" }'))
    line.start("media.2", IVR_FILE="mistake.toml")
    media = line.processes.pop("media.2")
    assert media.wait() == 2
    assert "line 6: menus.main.keys.2.menu: there is no menu 'sekond'" in media.said
