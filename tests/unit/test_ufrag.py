"""Meta's renegotiation sample prints another ICE user fragment with the same password."""

from pathlib import Path

import pytest

from workers.media import sdp_gate

SDP = Path(__file__).parents[1] / "fixtures" / "sdp"
ANSWER = (SDP / "messenger-accept-answer.sdp").read_bytes().decode()
OFFER = (SDP / "messenger-accept-renegotiation-offer.sdp").read_bytes().decode()


@pytest.mark.meta("4.5-ufrag")
def test_a_fragment_that_changes_without_its_password_is_no_restart() -> None:
    in_force = sdp_gate.audio_terms(sdp_gate.admit_answer(ANSWER))
    assert "a=ice-ufrag:EbT4cXksCyVKQMC//103\r\n" in OFFER
    admitted = sdp_gate.admit_offer(OFFER, in_force=in_force)
    assert "a=ice-ufrag:EbT4cXksCyVKQMC/103\r\n" in admitted
    assert "//103" not in admitted


@pytest.mark.meta("4.5-ufrag")
def test_a_fragment_that_changes_with_its_password_is_taken() -> None:
    in_force = sdp_gate.audio_terms(sdp_gate.admit_answer(ANSWER))
    restart = OFFER.replace("a=ice-pwd:74O3IvX6AV9ulmb9udAmimux", "a=ice-pwd:anotherpasswordofmetas00")
    assert "a=ice-ufrag:EbT4cXksCyVKQMC//103\r\n" in sdp_gate.admit_offer(restart, in_force=in_force)
