"""A Page comes on board, is unsubscribed by Meta, and gets a new token, with the real command and two real workers."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.acceptance.line import Process
from tests.integration.page_server import APP, SECRET, VERSION, PageServer

PAGELINE: Final = str(Path(sys.executable).with_name("pageline"))
PAGE: Final = "106378625516323"
FIELDS: Final = "calls,call_permission_reply,call_settings_update,messages"


class Line:
    """Settings of one line, and what runs with them."""

    def __init__(self, home: Path, redis_url: str) -> None:
        self.home = home
        self.token, self.pages = home / "token", home / "pages.toml"
        self.token.write_text("first")
        self.pages.write_text(f'[{PAGE}]\ntoken_file = "{self.token}"\nicon = true\n')
        self.workers: list[Process] = []
        self.environ = {
            "META_APP_SECRET": SECRET,
            "META_VERIFY_TOKEN": "v3rify",
            "META_APP_ID": APP,
            "PAGES_FILE": str(self.pages),
            "PAGES_WATCH_SECONDS": "1",
            "GRAPH_VERSION": VERSION,
            "REDIS_URL": redis_url,
            "DRAIN_SECONDS": "1",
        }

    def start(self, name: str) -> None:
        self.workers.append(Process([PAGELINE, "action"], home=self.home, env=self.environ, name=name))

    @property
    def said(self) -> list[dict[str, Any]]:
        """Return what all workers logged."""
        lines = [line for worker in self.workers for line in worker.said.splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines]

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in self.said)

    async def run(self, *arguments: str) -> tuple[int, Any]:
        process = await asyncio.create_subprocess_exec(
            PAGELINE, *arguments, "--json", cwd=self.home, env=os.environ | self.environ, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return process.returncode or 0, json.loads(out)


@pytest.fixture
def line(tmp_path: Path, redis_url: str) -> Iterator[Line]:
    line = Line(tmp_path, redis_url)
    yield line
    for worker in line.workers:
        worker.stop()


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110 it happens in another process
            await asyncio.sleep(0.05)


async def test_a_page_comes_on_board_and_stays_there(line: Line) -> None:
    meta = PageServer()
    await meta.listen()
    line.environ["GRAPH_URL"] = meta.url
    page = meta.page(PAGE, fields=["messages"], call_routing={"ring_target": "META"}, icon_enabled=False)

    assert (await line.run("doctor"))[0] == 1
    assert (await line.run("doctor", "--fix"))[0] == 1, "what PAGES_FILE wants beside is not doctor's to change"
    assert (await line.run("settings", "apply"))[0] == 0
    assert (await line.run("doctor"))[0] == 0
    assert (await line.run("settings", "diff"))[0] == 0

    for name in ("one", "two"):
        line.start(name)
    looks = len(meta.requests)
    await until(lambda: line.count("pages.loaded") == 2 and len(meta.requests) >= looks + 2)
    page["fields"] = None
    await until(lambda: line.count("subscription.restored") == 1)
    assert page["fields"] == FIELDS.split(",")
    assert meta.posted("subscribed_apps") == [{"subscribed_fields": FIELDS}] * 2, "doctor's, and one worker's"

    page["settings"]["icon_enabled"] = False
    await until(lambda: line.count("settings.drifted") == 1)

    line.token.write_text("second")
    await until(lambda: sum(each.get("renewed") == [PAGE] for each in line.said) == 2)
    asked = len(meta.requests)
    await until(lambda: len(meta.requests) > asked + 1)
    assert meta.requests[-1].headers["authorization"] == "Bearer second"
    assert "second" not in str(line.said)
    await meta.close()
