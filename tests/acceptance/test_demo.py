"""The first five minutes: `pageline demo`, from the outside, as a newcomer and as somebody at the page."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.browser import browser_page

DEMO = [sys.executable, "-m", "pageline", "demo"]
PROMPT_HZ = 440


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "DATA_DIR": str(home), "NO_COLOR": "1", "COLUMNS": "200"}


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process that was started for this demo, whoever its parent is by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("DATA_DIR") == str(home):
                found.append(process)
    return found


def test_demo_once_reports_what_both_sides_heard_and_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = subprocess.run(
        [*DEMO, "--once", "--json"], env=environment(tmp_path), capture_output=True, text=True, timeout=90, check=False
    )
    assert demo.returncode == 0, demo.stderr
    report = json.loads(demo.stdout)
    assert report["outcome"] == "completed"
    assert report["duration_s"] > 10
    assert 0 < report["webhook_to_accept_ms"] < report["webhook_to_first_audio_ms"]
    for side in ("caller_heard", "line_heard"):
        heard = report[side]
        assert heard["seconds"] > 10
        assert heard["dominant_hz"] == pytest.approx(heard["expected_hz"], abs=5)
        assert heard["lost_packets"] == 0
    assert Path(report["recording"]).suffix == ".opus"
    assert Path(report["recording"]).stat().st_size > 20_000
    told = [fact["fact"] for fact in report["timeline"]]
    assert told[0] == "Arrived"
    assert told.count("Closed") == told.count("ActionGranted") == 1
    assert processes_of(tmp_path) == []


@contextlib.asynccontextmanager
async def demo_that_stays(home: Path) -> AsyncIterator[str]:
    """A running demo; yields the address of the page to call from, once it invites."""
    process = await asyncio.create_subprocess_exec(
        *DEMO, env=environment(home), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said = []

    async def invited() -> str:
        assert process.stderr is not None
        async for line in process.stderr:
            said.append(line.decode(errors="replace"))
            if invitation := re.search(r"Call from your browser:\s+(\S+)", said[-1]):
                return invitation[1]
        pytest.fail("the demo ended without an invitation:\n" + "".join(said))

    try:
        page = await asyncio.wait_for(invited(), 60)
        listening = asyncio.create_task(process.stderr.read())  # a full pipe would stop it
        yield page
    finally:
        process.send_signal(signal.SIGINT)
        status = await asyncio.wait_for(process.wait(), 20)
    await listening
    assert status == 0


async def test_somebody_calls_from_the_browser_hears_the_prompt_and_hangs_up(tmp_path: Path) -> None:
    async with browser_page() as page, demo_that_stays(tmp_path) as address:
        await page.goto(f"{address}?tone=620")
        await page.get_by_role("button", name="Call").click()
        await page.get_by_text("Connected 0:01").wait_for()
        heard_hz = await page.wait_for_function(
            f"Math.abs(window.pageline.heardHz() - {PROMPT_HZ}) < 5 ? window.pageline.heardHz() : 0"
        )
        assert await heard_hz.json_value() == pytest.approx(PROMPT_HZ, abs=5)
        await page.get_by_text("Connected 0:03").wait_for()
        call_id = await page.evaluate("window.pageline.callId")
        await page.get_by_role("button", name="Hang up").click()
        await page.get_by_text("You hung up").wait_for()
        recording = next((tmp_path / "recordings").glob(f"{call_id}-*.opus"))
        assert recording.stat().st_size > 0
    assert processes_of(tmp_path) == []
