"""Recordings that this web process can read: named in the call's log, and in a folder of ours."""

from pathlib import Path
from typing import Any, Final

from shared.calls import facts
from shared.entries import LogEntry
from shared.settings import Settings

TYPES: Final = {".opus": "audio/ogg", ".ogg": "audio/ogg", ".wav": "audio/wav"}
"""What `call.record` writes; nothing else is ever sent."""


class Recordings:
    """Where recordings may lie: RECORDINGS_URL, where that is a folder, and DATA_DIR."""

    def __init__(self, settings: Settings) -> None:
        self._folders = (settings.recordings, Path(settings.data_dir).absolute())

    def told(self, entries: list[LogEntry]) -> list[dict[str, Any]]:
        """Return the recordings of a call: where each is, whether it can be played here, and how long it is, bytes."""
        stored = {
            entry.fact.path: entry.fact.size for entry in entries if isinstance(entry.fact, facts.RecordingStored)
        }
        told = []
        for at_ms, path in _paths(entries):
            file = self._file(path)
            size = stored.get(path) if file is None else file.stat().st_size
            told.append({"at_ms": at_ms, "path": path, "playable": file is not None, "size": size})
        return told

    def find(self, entries: list[LogEntry], number: int) -> tuple[Path, str] | None:
        """Return the file of a call's recording, counted from 0, and its media type; none where we have it not."""
        paths = _paths(entries)
        file = self._file(paths[number][1]) if 0 <= number < len(paths) else None
        return None if file is None else (file, TYPES[file.suffix])

    def _file(self, path: str) -> Path | None:
        """Return the file, all links followed, if that ends in one of our folders."""
        if "://" in path or Path(path).suffix not in TYPES:
            return None
        try:
            file = Path(path).resolve(strict=True)
            inside = any(file.is_relative_to(folder.resolve()) for folder in self._folders)
        except (OSError, ValueError):
            return None
        return file if inside and file.suffix in TYPES and file.is_file() else None


def _paths(entries: list[LogEntry]) -> list[tuple[int, str]]:
    return [(entry.fact.at_ms, entry.fact.path) for entry in entries if isinstance(entry.fact, facts.RecordingStarted)]
