"""Calls that are answered: real webhooks, real WebRTC, sound measured at both ends."""

import wave
from pathlib import Path

import numpy as np
import pytest

from shared.calls import facts
from tests.acceptance.line import PAGES, Line
from tests.acceptance.standin import RATE_HZ, Consumer, Meta, Samples, Spelling, dominant_hz

TOLERANCE_HZ = 5
PILOT_HZ = 440
TALK_S = 1.0


def recorded(path: Path) -> tuple[Samples, int]:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16), file.getframerate()


def assert_nothing_was_lost(line: Line, consumer: Consumer) -> None:
    figures = line.await_fact(consumer, facts.LegClosed)
    assert figures.packets_lost == 0
    assert figures.packets_received > 0
    assert consumer.lost_packets == 0


@pytest.mark.parametrize("handler", ["echo", "forward"])
def test_a_caller_is_answered_and_each_side_hears_the_other(line: Line, meta: Meta, handler: str) -> None:
    consumer = meta.consumer(PAGES[handler], hz=620).ring()
    heard = consumer.await_sound(TALK_S)
    consumer.hang_up()
    assert abs(dominant_hz(heard) - 620) <= TOLERANCE_HZ
    assert line.outcome_of(consumer) == "completed"
    assert_nothing_was_lost(line, consumer)
    assert len(consumer.actions("accept")) == 1
