"""Where recordings are kept: in a folder, or in whatever store fsspec knows, by way of that folder.

A recording is written to the disk first, so that no store can hold up a call, and brought to the store when it is
finished. What could not be brought stays in the folder, with a note of where it belongs, and is tried again every
minute, by whichever media worker uses the folder then.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import fsspec
import msgspec

from shared import log, outward
from shared.calls import facts
from workers.media.recorder import recording_name

LOOKED_AFTER_EVERY_S: Final = 60.0
ABANDONED_AFTER_S: Final = 60.0
"""A recording that nothing was written to for so long is nobody's: its worker died."""
AT_A_TIME: Final = 4
TRIED_FOR_S: Final = 120.0
NOTES: Final = ".to-be-stored"


class Owed(msgspec.Struct, frozen=True):
    """A recording that belongs in a store."""

    call_id: str
    file: str
    url: str


class Place(NamedTuple):
    """Where a recording is written, and where it is kept."""

    path: Path
    kept: str


class Archive:
    """The recordings of one media worker.

    Args:
        folder: where they are written.
        url: the store, as fsspec has it (`s3://bucket/calls`); "" to keep them in the folder.
        tell: takes a call's id and a fact of it.
    """

    def __init__(self, folder: Path, url: str, tell: Callable[[str, facts.Fact], Awaitable[object]]) -> None:
        self._folder = folder
        self._url = url.rstrip("/")
        self._tell = tell
        self._turns = asyncio.Semaphore(AT_A_TIME)
        self._bringing: dict[str, asyncio.Task[None]] = {}
        self._log = log.get()

    async def place(self, call_id: str, epoch: int, count: int, wanted: str | None) -> Place:
        """Return where the recording goes for which the handler wants a path, a URL, or nothing of the kind.

        Raises:
            OSError: the folder cannot be written to.
            ValueError: the URL is one that nothing here understands.
        """
        if wanted is not None and "://" not in wanted:
            return Place(Path(wanted), wanted)
        name = recording_name(call_id, epoch, count)
        if wanted is None and not self._url:
            path = self._folder / name
            return Place(path, str(path))
        if wanted is None:
            url, path = f"{self._url}/{name}", self._folder / name
        else:
            url, path = wanted, (self._folder / name).with_suffix(Path(wanted).suffix)
            await asyncio.to_thread(store_of, url)  # which may import a store's package
        owed = Owed(call_id, path.name, url)
        await asyncio.to_thread(self._note, owed)
        return Place(path, url)

    def take(self, path: Path) -> None:
        """Bring a finished recording to where it belongs, if that is elsewhere."""
        note = self._folder / NOTES / path.name
        if path.parent == self._folder and path.name not in self._bringing and note.exists():
            task = self._bringing[path.name] = asyncio.create_task(self._bring(note), name=f"store {path.name}")
            task.add_done_callback(lambda _: self._bringing.pop(path.name, None))

    async def run(self) -> None:
        """Look after recordings that were left behind, from time to time."""
        while True:
            for path in await asyncio.to_thread(self._left_behind):
                self.take(path)
            await asyncio.sleep(LOOKED_AFTER_EVERY_S)

    async def settle(self, within_s: float) -> None:
        """Give what is on its way so long to arrive."""
        if self._bringing:
            await asyncio.wait(self._bringing.values(), timeout=within_s)

    async def _bring(self, note: Path) -> None:
        async with self._turns:
            try:
                async with asyncio.timeout(TRIED_FOR_S):
                    owed = msgspec.json.decode(await asyncio.to_thread(note.read_bytes), type=Owed)
                    size = await asyncio.to_thread(_store, self._folder / owed.file, owed.url)
                    await self._tell(owed.call_id, facts.RecordingStored(path=owed.url, size=size))
                    await asyncio.to_thread(self._forget, owed)
            except Exception as error:  # noqa: BLE001 stores raise what they like
                self._log.error("recording.not_stored", file=note.name, error=f"{type(error).__name__}: {error}")

    # --- in threads ---

    def _note(self, owed: Owed) -> None:
        notes = self._folder / NOTES
        notes.mkdir(mode=0o700, parents=True, exist_ok=True)
        (notes / owed.file).write_bytes(msgspec.json.encode(owed))

    def _left_behind(self) -> list[Path]:
        """Return recordings of which there is a note, and which nobody writes to."""
        before = time.time() - ABANDONED_AFTER_S
        found = []
        for note in (self._folder / NOTES).glob("*"):
            path = self._folder / note.name
            with contextlib.suppress(FileNotFoundError):
                written = path.stat().st_mtime if path.exists() else note.stat().st_mtime
                if written > before:
                    continue
                if path.exists():
                    found.append(path)
                else:  # it never came to a recording
                    note.unlink()
        return found

    def _forget(self, owed: Owed) -> None:
        (self._folder / owed.file).unlink(missing_ok=True)
        (self._folder / NOTES / owed.file).unlink(missing_ok=True)


def store_of(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Raises:
        ValueError: nothing that is installed understands it.
    """
    try:
        if urlsplit(url).scheme in outward.PORTS:
            outward.check(url, "the store's URL")
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{url}: recordings cannot be kept there: {error}") from error
    return system, path


def _store(file: Path, url: str) -> int:
    system, path = store_of(url)
    if urlsplit(url).scheme in outward.PORTS:
        outward.resolve_now(url, "the store's URL")
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    system.put_file(str(file), path)
    size = file.stat().st_size
    if system.info(path)["size"] != size:
        raise OSError(f"{url} is not as long as the recording")
    return size
