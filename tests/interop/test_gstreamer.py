"""Our leg and GStreamer's webrtcbin, sound by FFT at both ends."""

import asyncio
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.interop.line import OURS_HZ, called
from tests.interop.program import PEERS, Program, running

PYTHON: Final = Path("/usr/bin/python3")  # Debian's own, for which its GStreamer bindings are made
THEIRS_HZ: Final = 1_000


def there() -> bool:
    """Whether this machine has webrtcbin and what it needs."""
    imports = "import gi; gi.require_version('GstWebRTC', '1.0'); from gi.repository import Gst, GstWebRTC"
    elements = (
        "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('webrtcbin', 'nicesrc', 'opusenc', 'spectrum')))"
    )
    asked = [PYTHON, "-c", f"{imports}; {elements}"]
    return PYTHON.exists() and subprocess.run(asked, check=False, capture_output=True).returncode == 0


pytestmark = pytest.mark.interop


async def hears(peer: Program, hz: float, *, within_s: float = 5) -> None:
    """Wait until the peer reports that tone; it measures twice a second."""
    heard = []
    async with asyncio.timeout(within_s):
        try:
            while not heard or abs(heard[-1] - hz) > 5:
                await asyncio.sleep(0.05)
                heard.append((await peer.ask("report"))["hz"])
        except TimeoutError:
            raise AssertionError(f"the peer heard {set(heard)}, not {hz} Hz") from None


async def test_webrtcbin_and_we_hear_each_other() -> None:
    if not there():
        pytest.skip("GStreamer's webrtcbin is not installed: `make interop` as root does it")
    async with running(PYTHON, PEERS / "gst_peer.py", str(THEIRS_HZ)) as peer, called(peer) as line:
        await line.hears(THEIRS_HZ)
        await hears(peer, OURS_HZ)
        await line.listen(2)
        assert line.gaps() == 0
        assert line.leg.figures().packets_lost == 0
