"""Calls with video through real processes, to a consumer of the simulator whose phone has a camera."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.calls import facts
from tests.acceptance.line import PAGES, PIPELINE, Line
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import until

PAGE = "108812345678977"
KEY = "a-key-for-the-tests"
WITHIN_S = 30


@pytest.fixture(scope="module")
def simulated() -> SimulatedMeta:
    return SimulatedMeta()


OTHERWISE = ("--first-version", "1", "--conflict", "error", "--update-renegotiation", "--answer-shape", "objects")
"""Where Meta's pages contradict each other: the accept counts, a conflict is an error, an update is offered back."""


@pytest.fixture(scope="module", params=[(), OTHERWISE], ids=["one-way", "the-other-way"])
def line(
    simulated: SimulatedMeta, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Line]:
    settings = {"PAGE_TOKENS": f"{PAGE}=x", "CALL_HANDLER": "onlooker:answer", "PAGELINE_API_KEYS": KEY}
    if request.param:
        settings["MEDIA_UPDATE_ANSWER"] = "on"  # of which this Meta wants to know nothing
    with Line(tmp_path_factory.mktemp("video"), simulated, **settings) as running:
        shutil.copy(Path(__file__).with_name("onlooker.py"), running.home)
        running.processes["sim"] = simulated.start(running.home, *request.param)
        running.start(*PIPELINE)
        yield running.await_ready()


class Scene:
    """One call, and what its handler has written down."""

    def __init__(self, line: Line, simulated: SimulatedMeta, psid: str, *, placed: bool = False) -> None:
        self.line, self.simulated, self.psid = line, simulated, psid
        self.call_id = self._placed() if placed else simulated.ring(PAGE, psid)["call_id"]

    def _placed(self) -> str:
        self.simulated.permit(PAGE, self.psid)
        body, headers = {"page": PAGE, "to": self.psid}, {"authorization": f"Bearer {KEY}"}
        httpx.post(f"{self.line.base}/v1/calls", json=body, headers=headers).raise_for_status()
        call_id: str = self.simulated.call_to(self.psid)["call_id"]
        return call_id

    def note(self, what: str) -> dict[str, Any]:
        """Wait until the handler has come so far."""
        path = self.line.home / f"{self.psid}.jsonl"

        def found() -> dict[str, Any] | None:
            notes = [json.loads(each) for each in path.read_text().splitlines()] if path.exists() else []
            assert what == "refused" or not any(note["what"] == "refused" for note in notes), notes
            return next((note for note in notes if note["what"] == what), None)

        return until(found, f"{what} of {self.call_id}", timeout_s=WITHIN_S)

    def view(self) -> dict[str, Any]:
        return self.simulated.view(self.call_id)

    def labels(self, status: str) -> set[str]:
        """Return what our tracks of this status are at Meta."""
        return {track["label"] for track in self.view()["tracks"].values() if track["status"] == status}


@pytest.mark.meta("3.3-triggers", "6.2-reply", "6.3-start", "6.3-renegotiation", "6.4-screen")
def test_cameras_a_screen_and_a_microphone_go_on_and_off(line: Line, simulated: SimulatedMeta) -> None:
    call = Scene(line, simulated, "3001")
    call.note("started")
    until(lambda: call.view()["seen"]["frames"] >= 20, "our pictures at the consumer's", timeout_s=WITHIN_S)
    seen = call.view()["seen"]
    assert (seen["width"], seen["height"], seen["moving"]) == (320, 240, True)
    assert call.labels("enabled") == {"default_audio", "default_video"}
    simulated.toggle(call.call_id, video=True)
    images = call.note("watched")["images"]
    assert {tuple(image[:2]) for image in images} == {(320, 240)}
    assert len({image[2] for image in images}) > 1, "the picture moves"
    call.note("shared")
    assert call.labels("enabled") >= {"default_audio", "screen_video"}
    call.note("muted")
    assert call.labels("disabled") >= {"default_audio", "screen_video"}
    call.note("started again")
    assert "default_audio" in call.labels("enabled")
    assert call.view()["heard"]["lost_packets"] == 0
    simulated.hang_up(call.call_id)
    call.note("ended")
    log = line.log_of(call.call_id)
    assert not line.dead_letters()
    assert [fact.outcome for fact in log if isinstance(fact, facts.Closed)] == ["completed"]


@pytest.mark.meta("6.3-again")
def test_a_consumer_that_changes_its_media_all_the_time_does_not_keep_us_from_changing_ours(
    line: Line, simulated: SimulatedMeta
) -> None:
    call = Scene(line, simulated, "3002")
    call.note("answered")
    for muted in (True, False) * 3:
        simulated.toggle(call.call_id, muted=muted)
    call.note("started")
    simulated.toggle(call.call_id, video=True)
    call.note("watched")
    call.note("started again")
    simulated.hang_up(call.call_id)
    call.note("ended")
    versions = [
        fact.version for fact in line.log_of(call.call_id) if isinstance(fact, facts.MediaAnswered) and fact.sdp
    ]
    assert versions == sorted(set(versions))


def test_a_handler_of_the_docs_shows_a_caller_its_own_camera(line: Line, simulated: SimulatedMeta) -> None:
    call_id = simulated.ring(PAGES["mirror"], "3003")["call_id"]
    simulated.wait(call_id, state="connected")
    simulated.toggle(call_id, video=True)
    until(lambda: simulated.view(call_id)["seen"]["frames"] >= 20, "its own pictures", timeout_s=WITHIN_S)
    seen = simulated.view(call_id)["seen"]
    assert (seen["width"], seen["height"], seen["moving"]) == (320, 240, True)
    simulated.hang_up(call_id)


def test_a_call_that_we_placed_shows_and_sees_as_well(line: Line, simulated: SimulatedMeta) -> None:
    call = Scene(line, simulated, "3004", placed=True)
    call.note("started")
    until(lambda: call.view()["seen"]["frames"] >= 20, "our pictures at the consumer's", timeout_s=WITHIN_S)
    simulated.toggle(call.call_id, video=True)
    call.note("watched")
    call.note("started again")
    simulated.hang_up(call.call_id)
    call.note("ended")
