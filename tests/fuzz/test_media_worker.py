"""Hostile words of Meta's for calls of a whole media worker, while a conversation goes on in it."""

from pathlib import Path
from typing import Any, Final

import pytest

from shared.calls import facts
from tests.acceptance.line import PIPELINE, Line
from tests.acceptance.standin import PAGE, Consumer, Meta, envelope
from tests.fuzz.budget import drawn
from tests.fuzz.descriptions import DESCRIPTIONS, spoken
from workers.media.sdp_gate import SdpRefused, admit_answer

OUTCOMES: Final = {"failed", "cancelled", "completed"}


class Heckler(Consumer):
    """A consumer for whom Graph answers with anything, and whose media changes to anything."""

    def __init__(self, meta: Meta, words: tuple[str, str, str]) -> None:
        super().__init__(meta, PAGE, 620)
        self.words = words

    async def answer(self, offer: str) -> dict[str, Any]:
        said, renegotiation, _ = self.words
        return {"sdp_response": said, "sdp_renegotiation": {"sdp_type": "offer", "sdp": renegotiation}}

    @property
    def change(self) -> tuple[str, dict[str, Any]]:
        session = {"version": 1, "sdp_renegotiation": self.words[2]}
        return self.page, {"id": self.call_id, "event": "media_update", "session": session}

    @property
    def understood(self) -> bool:
        """Whether the answer passes the gate; such a call waits for media that never comes."""
        try:
            return bool(admit_answer(self.words[0]))
        except SdpRefused:
            return False


@pytest.fixture(scope="module")
def hecklers() -> list[tuple[str, str, str]]:
    speakable = (DESCRIPTIONS | spoken()).filter(lambda text: text.isprintable() or text.isascii()).filter(bool)
    words = drawn(speakable, 48)[-48:]
    return [(one, words[at - 1], words[at - 2]) for at, one in enumerate(words)][::2]


def test_calls_with_hostile_descriptions_end_and_the_conversation_beside_them_goes_on(
    hecklers: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    with Meta() as meta, Line(tmp_path, meta) as line:
        line.start(*PIPELINE)
        line.await_ready()
        talking = meta.consumer().ring()
        talking.await_sound(0.3)
        rude = [meta.know(Heckler(meta, words)) for words in hecklers]
        assert meta.post(envelope(*(one.connect for one in rude))) == 200
        assert meta.post(envelope(*(one.change for one in rude))) == 200
        for one in rude:
            one.await_action("accept")
            line.await_fact(one, facts.AnswerReceived)
            if one.understood:
                one.hang_up()
            else:
                one.await_action("terminate")
        assert {line.outcome_of(one) for one in rude} <= OUTCOMES
        talking.await_sound(0.5)
        late = meta.consumer().ring()
        late.await_sound(0.3)
        for consumer in (talking, late):
            consumer.hang_up()
            assert line.outcome_of(consumer) == "completed"
        assert not line.processes["media"].ended
        said = line.processes["media"].said
        assert "call.task_failed" not in said
        assert "Traceback" not in said
