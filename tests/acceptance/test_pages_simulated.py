"""`pageline doctor`, `pageline settings` and the watch with the simulated Meta, which takes only what is documented."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.acceptance.line import VERIFY_TOKEN, Process, free_port, readiness
from tests.acceptance.simulated import SimulatedMeta
from tests.acceptance.standin import PAGE, SECRET, until

PAGELINE: Final = str(Path(sys.executable).with_name("pageline"))
WANTED: Final = f"""
[{PAGE}]
token = "EAAsimulated"
icon = false
routing = "partners"
[{PAGE}.hours]
timezone = "Africa/Lagos"
monday = "09:00-17:00"
"""


class Line:
    """One line and the Meta it is at."""

    def __init__(self, home: Path, redis_url: str) -> None:
        self.home, self.meta = home, SimulatedMeta()
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.meta.webhook_url = f"{self.url}/webhook"
        (home / "pages.toml").write_text(WANTED)
        self.running: list[Process] = []
        self.environ = {
            "META_APP_SECRET": SECRET,
            "META_VERIFY_TOKEN": VERIFY_TOKEN,
            "PAGES_FILE": str(home / "pages.toml"),
            "PAGES_WATCH_SECONDS": "1",
            "GRAPH_URL": self.meta.url,
            "REDIS_URL": redis_url,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "DRAIN_SECONDS": "1",
        }

    def start(self, *names: str) -> None:
        self.running += [Process([PAGELINE, name], home=self.home, env=self.environ) for name in names]

    def run(self, *arguments: str) -> tuple[int, Any]:
        command = [PAGELINE, *arguments, "--json"]
        ran = subprocess.run(command, cwd=self.home, env=os.environ | self.environ, capture_output=True, check=False)
        return ran.returncode, json.loads(ran.stdout)

    def degraded(self) -> str:
        return " ".join(httpx.get(f"{self.url}/readyz").json()["degraded"])


@pytest.fixture
def line(tmp_path: Path, redis_url: str) -> Iterator[Line]:
    line = Line(tmp_path, redis_url)
    yield line
    for process in reversed(line.running):
        process.stop()


def test_a_page_comes_on_board(line: Line) -> None:
    options = ("--unsubscribed", "--ring-target", "META", "--audio-disabled", "--settings-shape", "reference")
    line.running.append(line.meta.start(line.home, *options, "--success-as-string", "--require-proof"))
    status, found = line.run("doctor")
    assert status == 1
    assert len(found["no_call_arrives"]) == 2
    status, applied = line.run("settings", "apply")
    assert status == 1
    assert [each["done"] for each in applied[0]["changes"]] == [True, True, False], (
        "calls are to be subscribed to first"
    )
    assert line.run("doctor", "--fix")[0] == 0
    assert line.run("settings", "diff") == (0, [{"page": PAGE, "changes": [], "error": None}])


@pytest.mark.meta("7.2-elsewhere")
def test_meta_takes_the_subscription_away_and_somebody_changes_the_settings(line: Line) -> None:
    line.running.append(line.meta.start(line.home))
    assert line.run("settings", "apply")[0] == 0
    line.start("web", "action")
    until(lambda: readiness(line.url) == "degraded", "web is there, and no media worker", timeout_s=30)
    until(lambda: line.meta.asked(edge="subscribed_apps"), "a first look", timeout_s=30)

    graph = f"{line.meta.url}/v26.0/{PAGE}"
    authorized = {"authorization": "Bearer EAAsimulated"}
    httpx.delete(f"{graph}/subscribed_apps", headers=authorized).raise_for_status()
    until(lambda: "subscribed again" in line.degraded(), "the subscription is restored", timeout_s=30)
    (app,) = httpx.get(f"{graph}/subscribed_apps", headers=authorized).json()["data"]
    assert "calls" in app["subscribed_fields"]

    changed = httpx.post(f"{graph}/messenger_call_settings", headers=authorized, json={"icon_enabled": True})
    changed.raise_for_status()
    until(lambda: "icon: on, wanted off" in line.degraded(), "the drift is seen", timeout_s=30)
