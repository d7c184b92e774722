"""`pageline demo`: the whole pipeline with a simulated Meta, a call, and what both ends of it heard."""

import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import av
import httpx
import numpy as np
from rich.console import Console
from rich.panel import Panel

from pageline import local, story, up
from shared import api_keys, settings
from shared.api_keys import Scope
from shared.calls import facts
from shared.embedded import EmbeddedValkey
from shared.errors import PagelineError
from shared.story import Story

T = TypeVar("T")

PAGE: Final = "106378625516323"
PROMPT_PILOT_HZ: Final = 440.0
"""The tone under the prompts of `workers.handlers.announce`."""
CALLER_PILOT_HZ: Final = 620.0
"""The tone under the simulated caller's voice."""
READY_WITHIN_S: Final = 30.0
CALL_WITHIN_S: Final = 60.0
DRAIN_S: Final = 3.0
FAVOURITE_PORTS: Final = {"web": 8000, "sim": 9900, "dashboard": 9181}


class DemoFailed(PagelineError):
    """The demo did not get as far as a report; the message says what was missing."""


def run(*, once: bool, quiet: bool) -> tuple[int, dict[str, Any]]:
    """Start everything, make a call and report; unless `once`, stay for calls from the browser until Ctrl-C.

    Returns the exit status, 0 if the call was completed, and the report of the first call.
    """
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="pageline-demo-") as scratch, EmbeddedValkey(Path(scratch)) as valkey:
        key = api_keys.new()
        configured = _settings(valkey.url, key, once=once)
        show = Demo(configured, key, console, once=once, quiet=quiet)
        guide = threading.Thread(target=show.guide, name="guide", daemon=True)
        with _log_file(Path(configured.data_dir), console, hidden=once or quiet) as log_file:
            guide.start()
            status = up.run(
                {**local.processes(configured), "sim": _simulator(configured)},
                _environment(configured),
                printer=log_file,
                stop_grace_s=DRAIN_S + local.STOP_SLACK_S,
                revive=valkey.revive,
            )
        guide.join(timeout=1)
    if show.trouble:
        console.print(f"[red]{show.trouble}[/red]")
        console.print(f"What the processes said is in {configured.data_dir}/demo.log.")
    return status or (0 if show.report.get("outcome") == "completed" else 1), show.report


class Demo:
    """Makes the first call while the processes run, and tells the person what there is to see."""

    def __init__(self, configured: settings.Settings, key: str, console: Console, *, once: bool, quiet: bool) -> None:
        self._settings = configured
        self._key = key
        self._console = console
        self._once = once
        self._quiet = quiet
        self.report: dict[str, Any] = {}
        self.trouble = ""

    def guide(self) -> None:
        """Wait until everything is up, call, report; then stop everything or invite to call."""
        try:
            with self._console.status("Starting Valkey, web, media, action and a simulated Meta ..."):
                _wait_until_ready(self._settings)
            with self._console.status("A simulated caller rings, listens and speaks (about 15 s) ..."):
                told, heard = self._call()
            self.report = _report(told, heard)
            if not self._quiet:
                self._print_report(told)
        except Exception as error:  # noqa: BLE001 whatever it is, nobody must wait for this thread in vain
            self.trouble = f"The demo failed: {type(error).__name__}: {error}"
        if self._once or self.trouble:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._invite()

    def _call(self) -> tuple[Story, dict[str, Any]]:
        with httpx.Client(base_url=self._settings.graph_url, timeout=CALL_WITHIN_S + 5, trust_env=False) as simulator:
            call_id = simulator.post("/sim/calls", json={}).raise_for_status().json()["call_id"]
            wait = f"/sim/calls/{call_id}/wait?timeout_s={CALL_WITHIN_S:.0f}"
            heard: dict[str, Any] = simulator.get(wait).raise_for_status().json()
        told = _until(lambda: _closed(self._settings, call_id), 15.0, f"the log of call {call_id} was not closed")
        return told, heard

    def _print_report(self, told: Story) -> None:
        report = self.report
        self._console.print()
        story.print_one(told, self._console)
        self._console.print()
        for side, who in (("caller_heard", "The caller heard"), ("line_heard", "The line heard")):
            heard = report[side]
            self._console.print(
                f"{who} [bold]{heard['seconds']:.1f} s[/bold]: pilot tone at {_figure(heard['dominant_hz'], '.1f')} Hz "
                f"(sent: {heard['expected_hz']:.0f} Hz), {heard['lost_packets']} packets lost."
            )
        self._console.print(
            f"Webhook to accept {_figure(report['webhook_to_accept_ms'], '.0f')} ms, "
            f"webhook to first audio {_figure(report['webhook_to_first_audio_ms'], '.0f')} ms. "
            f"Recorded to {report['recording']}."
        )

    def _invite(self) -> None:
        lines = [f"Call from your browser:  [bold]{self._settings.graph_url}/[/bold]"]
        console = f"http://127.0.0.1:{self._settings.http_port}/console"
        lines.append(f"See the calls:           {console}")
        lines.append(f"  this demo's key:       [bold]{self._key}[/bold]")
        if self._settings.dashboard_port:
            lines.append(f"See the jobs:            http://127.0.0.1:{self._settings.dashboard_port}/")
        lines.append("Stop:                    Ctrl-C")
        self._console.print(Panel("\n".join(lines), title="pageline is answering", expand=False, padding=(1, 3)))
        self._console.print("The call just made, once you are logged in:")
        self._console.print(f"{console}/calls/{self.report['call_id']}", soft_wrap=True)  # whole, to be clicked


def _settings(redis_url: str, key: str, *, once: bool) -> settings.Settings:
    """Return settings for a demo on this machine; of the person's own only CALL_HANDLER and where things go count."""
    given = {name: os.environ[name] for name in ("DATA_DIR", "CALL_HANDLER", "RECORDINGS_URL") if name in os.environ}
    return settings.load(
        {
            "CALL_HANDLER": "workers.handlers.announce:record",
            **given,
            "REDIS_URL": redis_url,
            "META_APP_SECRET": secrets.token_hex(16),
            "META_VERIFY_TOKEN": secrets.token_hex(8),
            "PAGELINE_API_KEYS": api_keys.entry_of(key, Scope.ADMIN),
            "PAGE_TOKENS": f"{PAGE}={secrets.token_hex(16)}",
            "GRAPH_URL": f"http://127.0.0.1:{_free_port('sim', usual=not once)}",
            "HOST": "127.0.0.1",
            "PORT": str(_free_port("web", usual=not once)),
            "DASHBOARD_PORT": "0" if once else str(_free_port("dashboard")),
            "MEDIA_ADDRESSES": "127.0.0.1",
            "DRAIN_SECONDS": str(DRAIN_S),
            "LOG_FORMAT": "console" if sys.stderr.isatty() else "json",
        }
    )


def _environment(configured: settings.Settings) -> dict[str, str]:
    """Return every setting, so that none of the person's own reaches the demo."""
    given = {name.upper(): getattr(configured, name) for name in configured.__struct_fields__}
    return {name: "" if value is None else str(value) for name, value in given.items()}


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _simulator(configured: settings.Settings) -> list[str]:
    return [
        *(sys.executable, "-P", "-m", "pageline", "sim", "--port", configured.graph_url.rpartition(":")[2]),
        *("--webhook-url", f"http://127.0.0.1:{configured.http_port}/webhook"),
        *("--app-secret", configured.meta_app_secret, "--page", PAGE),
    ]


@contextlib.contextmanager
def _log_file(data_dir: Path, console: Console, *, hidden: bool) -> Iterator[TextIO]:
    """Yield where the processes' lines go: the terminal, or a file where only the report should be seen."""
    if not hidden:
        yield sys.stderr
        return
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "demo.log").open("w") as file:
        yield file


def _wait_until_ready(configured: settings.Settings) -> None:
    with httpx.Client(timeout=2, trust_env=False) as client:

        def ready() -> bool:
            try:
                state = client.get(f"http://127.0.0.1:{configured.http_port}/readyz").json()["status"]
                client.get(f"{configured.graph_url}/sim/about").raise_for_status()
            except (httpx.HTTPError, ValueError):
                return False
            return bool(state == "ready")

        _until(ready, READY_WITHIN_S, "the processes were not ready")


def _closed(configured: settings.Settings, call_id: str) -> Story | None:
    told = story.of(configured, call_id)
    return told if told is not None and told.first(facts.Closed) is not None else None


def _until(look: Callable[[], T | None], within_s: float, otherwise: str) -> T:
    """Look until there is something to see."""
    give_up = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > give_up:
            raise DemoFailed(f"{otherwise} within {within_s:.0f} s")
        time.sleep(0.05)


def _report(told: Story, heard: dict[str, Any]) -> dict[str, Any]:
    recorded = told.first(facts.RecordingStarted)
    closed_leg = told.first(facts.LegClosed)
    seconds, dominant_hz = _dominant(Path(recorded.path)) if recorded else (0.0, 0.0)
    connected_ms, ended_ms = told.at_ms(facts.LegConnected), told.at_ms(facts.Closed)
    return {
        "call_id": told.call_id,
        "outcome": told.call.outcome and str(told.call.outcome),
        "duration_s": round((ended_ms - connected_ms) / 1000, 3) if connected_ms and ended_ms else 0.0,
        "webhook_to_accept_ms": heard["webhook_to_accept_ms"],
        "webhook_to_first_audio_ms": heard["webhook_to_first_audio_ms"],
        "caller_heard": {
            "seconds": heard["heard"]["seconds"],
            "expected_hz": PROMPT_PILOT_HZ,
            "dominant_hz": heard["heard"]["dominant_hz"],
            "lost_packets": heard["heard"]["lost_packets"],
        },
        "line_heard": {
            "seconds": seconds,
            "expected_hz": CALLER_PILOT_HZ,
            "dominant_hz": dominant_hz,
            "lost_packets": closed_leg.packets_lost if closed_leg else None,
        },
        "recording": recorded and recorded.path,
        "timeline": told.timeline(),
    }


def _dominant(path: Path) -> tuple[float, float]:
    """Return a recording's length, s, and its strongest frequency, Hz."""
    resampler = av.AudioResampler(format="s16", layout="mono")
    with av.open(str(path)) as recording:
        rate = recording.streams.audio[0].rate
        frames = [mono for frame in recording.decode(audio=0) for mono in resampler.resample(frame)]
    samples = np.concatenate([np.zeros(0), *(frame.to_ndarray()[0] for frame in frames)])
    if not samples.size:
        return 0.0, 0.0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return round(samples.size / rate, 3), round(float(np.argmax(spectrum)) * rate / samples.size, 2)


def _free_port(purpose: str, *, usual: bool = True) -> int:
    """Return the usual port for this, or any free one where it is taken, or nobody will type it."""
    for port in (FAVOURITE_PORTS[purpose], 0) if usual else (0,):
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return int(listener.getsockname()[1])
    raise DemoFailed("there is no free port on 127.0.0.1")
