"""Meta as the simulator plays it, in a process of its own: consumers who can be called."""

import io
import sys
import wave
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.acceptance.line import Process, free_port
from tests.acceptance.standin import SECRET, until

WITHIN_S: Final = 30.0


class SimulatedMeta:
    """`pageline sim`; it takes any Page, token and consumer."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.webhook_url = ""
        self._http = httpx.Client(base_url=self.url, timeout=WITHIN_S)

    def start(self, home: Path, *options: str) -> Process:
        """Start it; `webhook_url` is known by then."""
        command = [sys.executable, "-m", "pageline", "sim", "--webhook-url", self.webhook_url, "--app-secret", SECRET]
        command += ["--port", self.url.rpartition(":")[2], *options]
        process = Process(command, home=home, env={}, name="sim")
        until(self._is_there, f"the simulator at {self.url}", timeout_s=WITHIN_S)
        return process

    def _is_there(self) -> bool:
        try:
            return self._http.get("/sim/about").is_success
        except httpx.TransportError:
            return False

    def tell(self, psid: str, **how: Any) -> None:
        """Say how a consumer behaves."""
        self._http.post("/sim/consumers", json={"psid": psid, **how}).raise_for_status()

    def permit(self, page: str, psid: str, *, granted: bool = True) -> None:
        """Grant a permission, or take it back."""
        self._http.post("/sim/permissions", json={"page": page, "psid": psid, "granted": granted}).raise_for_status()

    def ring(self, page: str, psid: str, **how: Any) -> dict[str, Any]:
        """Let a consumer call a Page."""
        reply = self._http.post("/sim/calls", json={"page": page, "psid": psid, **how}).raise_for_status()
        call: dict[str, Any] = reply.json()
        return call

    def fail(self, action: str, kind: str, **how: Any) -> None:
        """Plan what goes wrong with the next request for an action."""
        self._http.post("/sim/faults", json={"action": action, "kind": kind, **how}).raise_for_status()

    def call_to(self, psid: str) -> dict[str, Any]:
        """Wait until a consumer is called and return the call."""
        return until(lambda: self.calls_to(psid), f"a call to {psid}", timeout_s=WITHIN_S)[0]

    def calls_to(self, psid: str) -> list[dict[str, Any]]:
        """Return the calls to a consumer."""
        return [call for call in self._http.get("/sim/calls").json() if call["psid"] == psid]

    def wait(self, call_id: str, *, state: str = "ended") -> dict[str, Any]:
        """Wait until a call is connected, or has ended, and return it."""
        query = {"state": state, "timeout_s": WITHIN_S}
        call: dict[str, Any] = self._http.get(f"/sim/calls/{call_id}/wait", params=query).raise_for_status().json()
        assert call["state"] == state, call
        return call

    def view(self, call_id: str) -> dict[str, Any]:
        """Return a call as it is now."""
        call: dict[str, Any] = self._http.get(f"/sim/calls/{call_id}").raise_for_status().json()
        return call

    def recording(self, call_id: str) -> NDArray[np.int16]:
        """Return what the consumer heard, mono at 48 kHz, from when the first packet came."""
        reply = self._http.get(f"/sim/calls/{call_id}/recording.wav").raise_for_status()
        with wave.open(io.BytesIO(reply.content)) as sound:
            assert (sound.getnchannels(), sound.getframerate()) == (1, 48_000)
            return np.frombuffer(sound.readframes(sound.getnframes()), np.int16)

    def say(self, call_id: str, **what: Any) -> None:
        """Let the consumer say something else from now on."""
        self._http.post(f"/sim/calls/{call_id}/say", json=what).raise_for_status()

    def press(self, call_id: str, digits: str) -> None:
        """Let the consumer press keys."""
        self._http.post(f"/sim/calls/{call_id}/digits", json={"digits": digits}).raise_for_status()

    def hang_up(self, call_id: str) -> None:
        """Let the consumer hang up."""
        self._http.post(f"/sim/calls/{call_id}/hangup").raise_for_status()

    def toggle(self, call_id: str, **what: bool) -> None:
        """Let the consumer switch its camera or microphone."""
        self._http.post(f"/sim/calls/{call_id}/media-update", json=what).raise_for_status()

    def asked(self, edge: str = "calls", **fields: Any) -> list[dict[str, Any]]:
        """Return the requests that Graph got on an edge, with these fields."""
        requests = self._http.get("/sim/graph").json()
        return [one for one in requests if one.get("edge", "calls") == edge and fields.items() <= one.items()]

    def asked_anything(self) -> list[dict[str, Any]]:
        """Return all requests that Graph got."""
        requests: list[dict[str, Any]] = self._http.get("/sim/graph").json()
        return requests
