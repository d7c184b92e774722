"""Which recordings are removed when they are old, and what is never touched."""

import os
from pathlib import Path
from typing import Final

import pytest

from shared.sound_files import is_of, is_ours
from workers.media.archive import NOTES
from workers.media.recorder import recording_name
from workers.media.retention import sweep

OLD_S: Final = 1_000_000.0
CALLS: Final = ("c_abc", "o_01hx", "wacid.HBg=", "a/../b", "ü" * 200, "c-1-2")


def put(path: Path, written_s: float = OLD_S) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"sound")
    os.utime(path, (written_s, written_s))
    return path


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("count", [1, 12])
def test_whatever_a_recording_is_named_it_is_known_for_ours_and_for_its_call_s(call: str, count: int) -> None:
    name = recording_name(call, 3, count)
    assert is_ours(name)
    assert is_ours(f"{name}.json")
    assert is_ours(str(Path(name).with_suffix(".wav")))
    for each in CALLS:
        assert is_of(name, recording_name(each, 0, 1).removesuffix("-0.opus")) == (each == call)


def test_old_recordings_and_their_notes_go(tmp_path: Path) -> None:
    old = [put(tmp_path / name) for name in ("c_1-1.opus", "c_1-1.opus.json", "o_2-3-2.opus")]
    new = put(tmp_path / "c_3-1.opus", OLD_S + 10)
    assert sweep(tmp_path, OLD_S + 5) == 3
    assert not any(path.exists() for path in old)
    assert new.exists()


def test_what_is_not_named_as_ours_stays(tmp_path: Path) -> None:
    names = ("welcome.ogg", "c_1.opus", "c_1-1.mp3", "c_1-1.opus.bak", ".c_1-1.opus", "c 1-1.opus", "calls.jsonl")
    kept = [put(tmp_path / name) for name in names]
    kept.append(put(tmp_path / "below" / "c_1-1.opus"))
    (tmp_path / "c_2-1.opus").mkdir()
    (tmp_path / "c_3-1.opus").symlink_to(kept[0])
    os.utime(tmp_path / "c_3-1.opus", (OLD_S, OLD_S), follow_symlinks=False)
    assert sweep(tmp_path, OLD_S + 5) == 0
    assert all(path.exists() for path in kept)
    assert sweep(tmp_path / "nowhere", OLD_S + 5) == 0


def test_what_waits_for_its_store_stays(tmp_path: Path) -> None:
    waiting = put(tmp_path / "c_1-1.opus")
    put(tmp_path / NOTES / "c_1-1.opus")
    assert sweep(tmp_path, OLD_S + 5) == 0
    assert waiting.exists()


def test_one_go_is_bounded(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path / f"c_{number}-1.opus")
    assert [sweep(tmp_path, OLD_S + 5, most=2) for _ in range(4)] == [2, 2, 1, 0]
