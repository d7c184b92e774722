"""Which files count as sounds when a process starts."""

import os
import wave
from pathlib import Path

import pytest

from pageline.playable import check_sound
from workers.handlers.voicemail import LEAVE_A_MESSAGE


def write_wav(path: Path, samples: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * samples))
    return path


def test_what_a_call_can_play_is_taken(tmp_path: Path) -> None:
    check_sound(LEAVE_A_MESSAGE)
    check_sound(write_wav(tmp_path / "short.wav", samples=960))


@pytest.mark.parametrize("content", [b"", b"no sound", Path(LEAVE_A_MESSAGE).read_bytes()[:200]])
def test_what_is_no_sound_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tune.ogg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^/.*/tune\.ogg is no sound that can be played$"):
        check_sound(path)


@pytest.mark.parametrize("name", ["", "nowhere.ogg"])
def test_what_is_not_there_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"^there is no file /"):
        check_sound(tmp_path / name)


def test_a_file_that_has_changed_is_looked_at_again(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "tune.wav", samples=960)
    check_sound(path)
    path.write_text("no sound")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match="is no sound"):
        check_sound(path)
