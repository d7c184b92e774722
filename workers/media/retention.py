"""Removes recordings that are older than RECORDINGS_RETENTION_DAYS from the recordings folder, and notes beside them.

Only what is named as we name recordings is touched, in the folder itself and in none below it. What waits for its store
(`archive`) is left to that; in a store, its own rules say how long a recording is kept.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Final, NoReturn

from shared import log
from shared.sound_files import is_ours
from workers.media.archive import NOTES

LOOKED_EVERY_S: Final = 600.0
AT_ONCE: Final = 500
"""So many files at the most are removed in one go."""
DAY_S: Final = 86_400.0

_log = log.get()


async def keep_swept(folder: Path, days: int) -> NoReturn:
    """Remove what is too old, every ten minutes; any number of processes may do so at once."""
    while True:
        try:
            removed = await asyncio.to_thread(sweep, folder, time.time() - days * DAY_S)
        except OSError as error:
            _log.error("recordings.not_swept", folder=str(folder), error=str(error))
        else:
            if removed:
                _log.info("recordings.swept", folder=str(folder), removed=removed, older_than_days=days)
        await asyncio.sleep(LOOKED_EVERY_S)


def sweep(folder: Path, before_s: float, *, most: int = AT_ONCE) -> int:
    """Remove recordings that nothing was written to since then, Unix seconds; return how many files went.

    Raises:
        OSError: the folder cannot be read.
    """
    removed = 0
    if not folder.is_dir():
        return 0
    with os.scandir(folder) as files:
        for file in files:
            if removed == most:
                break
            if not is_ours(file.name) or (folder / NOTES / file.name).exists():
                continue
            try:
                if not file.is_file(follow_symlinks=False) or file.stat(follow_symlinks=False).st_mtime >= before_s:
                    continue
                Path(file.path).unlink()
            except FileNotFoundError:  # somebody else's sweep was here
                continue
            removed += 1
    return removed
