"""Whether a file can be played to a consumer: looked at when a process starts, not before the first caller."""

import os
from functools import lru_cache
from pathlib import Path

import av


def check_sound(path: str | os.PathLike[str]) -> None:
    """Decode the beginning of a sound; a file that was looked at and has not changed is not decoded again.

    Raises:
        ValueError: there is no such file, or it is no sound; the message names it.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no file {file.absolute()}")
    if not _begins(str(file), file.stat().st_mtime_ns):
        raise ValueError(f"{file.absolute()} is no sound that can be played")


@lru_cache(256)
def _begins(path: str, _changed_ns: int) -> bool:
    try:
        with av.open(path) as container:
            return next(container.decode(audio=0), None) is not None
    except (av.FFmpegError, IndexError):
        return False
