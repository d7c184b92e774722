"""Recordings of one consumer, found and removed: in the recordings folder, at paths of a handler's, and in stores."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import fsspec

from shared.sound_files import ENDINGS, is_of, is_ours

NOTES: Final = ".to-be-stored"
"""The folder of notes on what is still to be brought to a store (`workers/media/archive.py`)."""


class Cleared(NamedTuple):
    """What was removed, and what could not be."""

    removed: tuple[str, ...]
    failed: tuple[str, ...]
    """One sentence each."""


class Recordings:
    """The recordings folder of this machine, and whatever else records name."""

    def __init__(self, folder: Path, psid: str) -> None:
        self._folder = folder
        self._psid = psid
        self._removed: list[str] = []
        self._failed: list[str] = []

    def remove(self, calls: Iterable[str], named: Iterable[str]) -> Cleared:
        """Remove the recordings of calls, by their names and by what was told of them, and notes about the consumer."""
        for path in self.of(calls):
            self._unlink(path)
        for where in named:
            if "://" in where:
                self._remove_stored(where)
            elif where.rpartition(".")[2] in ENDINGS:
                for path in (Path(where), Path(f"{where}.json")):
                    self._unlink(path)
            else:
                self._failed.append(f"{where} is not named like a recording; remove it yourself.")
        for note in self.notes():
            for path in (note.with_suffix(""), note):
                self._unlink(path)
        return Cleared(tuple(self._removed), tuple(self._failed))

    def of(self, calls: Iterable[str]) -> Iterator[Path]:
        """Yield the files of calls in the folder, those among them that wait for their store."""
        from workers.media.recorder import recording_name

        beginnings = [recording_name(call, 0, 1).removesuffix("-0.opus") for call in calls]
        for folder in (self._folder, self._folder / NOTES):
            for path in sorted(folder.glob("*")):
                if path.is_file() and any(is_of(path.name, beginning) for beginning in beginnings):
                    yield path

    def notes(self) -> Iterator[Path]:
        """Yield notes of voicemail that tell of the consumer, however old."""
        for path in sorted(self._folder.glob("*.json")):
            if is_ours(path.name) and _told(path).get("caller") == self._psid:
                yield path

    def _unlink(self, path: Path) -> None:
        try:
            path.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            self._failed.append(f"{path} could not be removed: {error.strerror}.")
        else:
            self._removed.append(str(path))

    def _remove_stored(self, url: str) -> None:
        try:
            system, path = fsspec.core.url_to_fs(url)
            for each in (path, f"{path}.json"):
                if system.exists(each):
                    system.rm_file(each)
                    self._removed.append(url if each == path else f"{url}.json")
        except Exception as error:  # noqa: BLE001 stores raise what they like
            self._failed.append(f"{url} could not be removed: {type(error).__name__}: {error}.")


def _told(note: Path) -> dict[str, Any]:
    try:
        told = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
