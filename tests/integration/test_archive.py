"""Recordings that belong in a store: brought there when they are finished, or later by whoever finds them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import fsspec
import pytest
import structlog
from fsspec.implementations.memory import MemoryFileSystem

from shared.bus import Bus
from shared.calls import facts
from shared.settings import Settings
from shared.wire import Wire
from tests.integration.test_leg import until
from workers.media.archive import ABANDONED_AFTER_S, NOTES, Archive, store_of

CALL: Final = "c_1"
STORE: Final = "shaky://bucket/calls"
WITHIN_S: Final = 5.0


class Shaky(MemoryFileSystem):
    """A store that can be out of order."""

    protocol = ("shaky",)
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    broken = ""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("shaky://").strip("/")

    def put_file(self, lpath: str, rpath: str, **how: Any) -> None:
        match self.broken:
            case "refuses":
                raise PermissionError("the bucket is somebody else's")
            case "cuts off":
                self.pipe_file(rpath, b"half")
            case _:
                super().put_file(lpath, rpath, **how)


fsspec.register_implementation("shaky", Shaky, clobber=True)


@pytest.fixture(autouse=True)
def shaky() -> Iterator[type[Shaky]]:
    Shaky.store.clear()
    yield Shaky
    Shaky.broken = ""


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Wire.from_url(redis_url) as wire:
        yield Bus(wire)


@pytest.fixture
def archive(bus: Bus, tmp_path: Path) -> Archive:
    return Archive(tmp_path, STORE, bus.route)


async def recorded(archive: Archive, wanted: str | None = None, sound: bytes = b"OggS and so on") -> Path:
    place = await archive.place(CALL, 1, 1, wanted)
    place.path.parent.mkdir(exist_ok=True)
    place.path.write_bytes(sound)
    return place.path


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def stored(bus: Bus) -> list[tuple[str, int]]:
    log = [entry.fact for entry in await bus.read_log(CALL)]
    return [(fact.path, fact.size) for fact in log if isinstance(fact, facts.RecordingStored)]


async def test_a_finished_recording_goes_to_the_store_and_leaves_nothing_behind(
    archive: Archive, bus: Bus, tmp_path: Path
) -> None:
    path = await recorded(archive)
    archive.take(path)
    await archive.settle(WITHIN_S)
    assert await stored(bus) == [(f"{STORE}/c_1-1.opus", 14)]
    assert fsspec.open(f"{STORE}/c_1-1.opus").open().read() == b"OggS and so on"
    assert left(tmp_path) == []


async def test_a_handler_may_name_a_url(archive: Archive, bus: Bus, tmp_path: Path) -> None:
    archive.take(await recorded(archive, "shaky://elsewhere/of/mine.wav"))
    await archive.settle(WITHIN_S)
    assert await stored(bus) == [("shaky://elsewhere/of/mine.wav", 14)]
    assert left(tmp_path) == []


@pytest.mark.parametrize("broken", ["refuses", "cuts off"])
async def test_what_a_store_does_not_take_is_kept_told_and_brought_by_whoever_comes_next(
    archive: Archive, bus: Bus, tmp_path: Path, shaky: type[Shaky], broken: str
) -> None:
    shaky.broken = broken
    path = await recorded(archive)
    with structlog.testing.capture_logs() as logs:
        archive.take(path)
        await archive.settle(WITHIN_S)
    assert [line["event"] for line in logs] == ["recording.not_stored"]
    assert left(tmp_path) == ["c_1-1.opus", "c_1-1.opus"], "the recording and the note of where it belongs"
    assert await stored(bus) == []
    shaky.broken = ""
    before = time.time() - ABANDONED_AFTER_S - 1
    os.utime(path, (before, before))
    another = Archive(tmp_path, STORE, bus.route)
    looking = asyncio.create_task(another.run())
    await until(lambda: left(tmp_path) == [])
    looking.cancel()
    assert await stored(bus) == [(f"{STORE}/c_1-1.opus", 14)]


async def test_nobody_takes_a_recording_that_is_being_written(archive: Archive, bus: Bus, tmp_path: Path) -> None:
    path = await recorded(archive)
    another = Archive(tmp_path, STORE, bus.route)
    assert another._left_behind() == []
    assert path.exists()


async def test_a_note_without_a_recording_is_forgotten(archive: Archive, tmp_path: Path) -> None:
    place = await archive.place(CALL, 1, 1, None)
    note = tmp_path / NOTES / place.path.name
    before = time.time() - ABANDONED_AFTER_S - 1
    os.utime(note, (before, before))
    assert archive._left_behind() == []
    assert not note.exists()


async def test_in_a_folder_recordings_stay_where_they_are(bus: Bus, tmp_path: Path) -> None:
    archive = Archive(tmp_path, "", bus.route)
    path = await recorded(archive)
    archive.take(path)
    await archive.settle(WITHIN_S)
    assert left(tmp_path) == ["c_1-1.opus"]
    assert await stored(bus) == []


async def test_a_path_of_the_handlers_is_its_own(archive: Archive, tmp_path: Path) -> None:
    place = await archive.place(CALL, 1, 1, str(tmp_path / "mine.wav"))
    assert place == (tmp_path / "mine.wav", str(tmp_path / "mine.wav"))
    assert left(tmp_path) == []


@pytest.mark.parametrize("url", ["nowhere://bucket/calls", "gs://bucket/calls"])
def test_a_store_that_nothing_here_understands_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be kept there: .*(rotocol not known|install)"):
        store_of(url)


async def test_a_url_of_the_handlers_that_nothing_here_understands_is_an_error_of_its_own(archive: Archive) -> None:
    with pytest.raises(ValueError, match="cannot be kept there"):
        await archive.place(CALL, 1, 1, "nowhere://bucket/a.opus")


def test_a_store_has_its_folder_in_the_data_directory(tmp_path: Path) -> None:
    settings = Settings(recordings_url=STORE, data_dir=str(tmp_path))
    assert (settings.recordings, settings.recordings_store) == (tmp_path / "recordings", STORE)
