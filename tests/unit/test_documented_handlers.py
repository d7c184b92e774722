"""Every handler that docs/handlers.md shows, in `pageline.testing`."""

import importlib
import re
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pageline import Image
from pageline.testing import Conversation

DOCUMENT = (Path(__file__).parents[2] / "docs" / "handlers.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", DOCUMENT, re.DOTALL))
TRIED = {"menu", "assistant", "mirror", "voicemail", "callback", "pairs", "conference", "test_menu", "receiver"}

Load = Callable[[str], ModuleType]


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Lay all examples into a folder, with a second of sound for each that they name, and import one."""
    for name, source in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(source)
        for sound in re.findall(r'"(\w+\.ogg)"', source):
            with wave.open(str(tmp_path / sound), "wb") as file:  # what it is shows in the file, not in its name
                file.setparams((1, 2, 48_000, 0, "NONE", ""))
                file.writeframes(bytes(96_000))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module
    for name in EXAMPLES:
        sys.modules.pop(name, None)


def test_every_example_is_tried_here() -> None:
    assert set(EXAMPLES) == TRIED


async def test_the_menu_asks_again_and_knows_its_digits(example: Load) -> None:
    async with Conversation(example("menu").answer) as talk:
        await talk.hears("menu.ogg")
        await talk.press("9")
        await talk.hears("unknown.ogg")
        await talk.hears("menu.ogg")
        await talk.press("1")
        await talk.hears("hours.ogg")
        assert await talk.ended() == "completed"
    assert talk.heard == ["menu.ogg", "unknown.ogg", "menu.ogg", "hours.ogg", "menu.ogg", "goodbye.ogg"]


async def test_the_menu_has_an_echo(example: Load) -> None:
    async with Conversation(example("menu").answer) as talk:
        await talk.press("2")
        await talk.wait(3600)
        assert talk.outcome == ""


async def test_the_test_that_is_shown_passes(example: Load) -> None:
    await example("test_menu").test_one_is_for_the_hours()


async def test_the_assistant_replies_with_what_it_heard_for_two_seconds(example: Load) -> None:
    async with Conversation(example("assistant").answer) as talk:
        await talk.speak(2)
        await talk.wait(0.1)
    assert len(talk.frames) == 100
    assert all(any(frame.pcm) for frame in talk.frames)


async def test_the_mirror_shows_a_negative(example: Load) -> None:
    dark = Image(2, 2, bytes([0, 0, 0, 0, 128, 128]))
    async with Conversation(example("mirror").answer) as talk:
        await talk.film(dark)
    assert talk.shown == [Image(2, 2, bytes([255, 255, 255, 255, 128, 128]))]


async def test_the_voicemail_records_until_a_key(example: Load, tmp_path: Path) -> None:
    async with Conversation(example("voicemail").answer, recordings=tmp_path) as talk:
        await talk.hears("after_the_tone.ogg")
        await talk.wait(1)
        await talk.speak(2)
        await talk.press("1")
        assert await talk.ended() == "completed"
    assert talk.recordings == [str(tmp_path / "1.opus")]
    async with Conversation(example("voicemail").on_lost) as talk:
        await talk.ended()


async def test_who_calls_is_called_back(example: Load) -> None:
    module = example("callback")
    async with Conversation(module.answer, caller="psid", page="106") as talk:
        await talk.ended()
    (placed,) = talk.placed
    assert (placed.page, placed.psid, placed.handler, placed.ask_permission) == (
        "106",
        "psid",
        "callback:call_back",
        True,
    )
    async with Conversation(module.call_back, direction="business_initiated") as talk:
        await talk.hears("hello_again.ogg")


async def test_who_waits_for_a_pair_and_leaves_waits_no_more(example: Load) -> None:
    module = example("pairs")
    async with Conversation(module.answer):
        assert len(module.waiting) == 1
    assert module.waiting == []


async def test_a_conference_is_left_with_its_key(example: Load) -> None:
    module = example("conference")
    async with Conversation(module.answer) as talk:
        await talk.press("1")
        await talk.wait(5)
        assert talk.heard == []
        await talk.press("#")
        await talk.hears("goodbye.ogg")
    async with Conversation(module.supervise) as talk:
        await talk.press("1")
        await talk.press("#")
        assert await talk.ended() == "completed"
