"""A business of a few lines, to try the stand-in for Meta with: real HTTP, signatures and WebRTC, tones by FFT."""

import asyncio
import fractions
import hashlib
import hmac
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import uvicorn
from aiortc import MediaStreamTrack, RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import simulator

PAGE = "106378625516323"
PSID = "5275811702471834"
SECRET = "test_app_secret"
BEARER = {"Authorization": "Bearer EAAtoken"}
RATE_HZ = 48_000


class Webhooks:
    """The business's webhook: checks every signature and keeps what it got; `statuses` are answered first, then 200."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._entries: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._refusals: asyncio.Queue[int] = asyncio.Queue()

    async def post(self, request: Request) -> Response:
        raw = await request.body()
        expected = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        assert request.headers["x-hub-signature-256"] == expected
        if self.statuses:
            status = self.statuses.pop(0)
            await self._refusals.put(status)
            return Response(status_code=status)
        self.bodies.append(raw)
        for entry in json.loads(raw)["entry"]:
            if "calls" not in entry:
                await self._entries.put(entry)
                continue
            assert entry["id"] == PAGE
            for event in entry["calls"]:
                await self._events.put(event)
        return Response()

    async def refused(self, times: int) -> None:
        for _ in range(times):
            await asyncio.wait_for(self._refusals.get(), 10)

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._events.get(), 10)

    async def expect(self, *names: str) -> list[dict[str, Any]]:
        """Take the next events, which must be these: an event, or the status that it tells."""
        events = [await self.next() for _ in names]
        assert [event.get("call_status", event["event"]) for event in events] == list(names)
        return events

    async def next_entry(self) -> dict[str, Any]:
        """Take the next entry that is not about calls."""
        return await asyncio.wait_for(self._entries.get(), 10)


@asynccontextmanager
async def listening() -> AsyncIterator[Webhooks]:
    received = Webhooks()
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/webhook", received.post, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    received.url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhook"
    yield received
    server.should_exit = True
    await serving


@asynccontextmanager
async def meta(webhooks: Webhooks, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    given = simulator.Settings(webhook_url=webhooks.url, app_secret=SECRET, page=PAGE, **settings)
    async with simulator.running(given) as url, httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        yield client


@asynccontextmanager
async def command(webhooks: Webhooks) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """Run the simulator as a process of its own, which is killed if it has not ended by then."""
    arguments = ["--port", "0", "--webhook-url", webhooks.url, "--app-secret", SECRET, "--page", PAGE]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    url = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        try:
            yield process, client
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self, hz: float) -> None:
        super().__init__()
        self._hz, self._at, self._began = hz, 0, time.monotonic()

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(self._began + self._at / RATE_HZ - time.monotonic())
        samples = np.sin(2 * np.pi * self._hz * (self._at + np.arange(960)) / RATE_HZ) * 8000
        frame = AudioFrame.from_ndarray(samples.astype(np.int16)[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._at, fractions.Fraction(1, RATE_HZ)
        self._at += 960
        return frame


class Business:
    """Answers a call as a business must: offers, applies answer and renegotiation, speaks a tone, listens."""

    def __init__(self, hz: float = 440) -> None:
        # or aiortc would leave the second of two new sections of a kind on a transport that is never opened
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.peer.addTrack(Tone(hz))
        self.tracks: list[MediaStreamTrack] = []
        self.peer.on("track", self.tracks.append)

    async def offer(self) -> str:
        ice = self.peer.getTransceivers()[0].receiver.transport.transport.iceGatherer._connection
        ice._local_candidates += await ice.get_component_candidates(component=1, addresses=["127.0.0.1"])
        ice._local_candidates_start = ice._local_candidates_end = True
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return self.peer.localDescription.sdp

    async def apply(self, session: dict[str, Any]) -> None:
        await self.peer.setRemoteDescription(RTCSessionDescription(text(session["sdp_response"]), "answer"))
        if "sdp_renegotiation" in session:
            await self.renegotiate(text(session["sdp_renegotiation"]))

    async def renegotiate(self, offer: str) -> None:
        await self.peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self.peer.setLocalDescription(await self.peer.createAnswer())

    async def hears(self, seconds: float = 1.0) -> float:
        """Returns the strongest frequency on the newest track that carries sound."""
        voice = [track for track in self.tracks if track.kind == "audio"][-1]
        heard: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        while len(heard) < seconds * 50:
            frame = await asyncio.wait_for(voice.recv(), 5)
            assert isinstance(frame, AudioFrame)
            heard.append(frame.to_ndarray().reshape(-1, 2)[:, 0].astype(np.int16))
        samples = np.concatenate(heard[10:])
        assert np.abs(samples).max() > 300, "silence"
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        return float(np.argmax(spectrum) * RATE_HZ / len(samples))


def text(description: Any) -> str:
    return description if isinstance(description, str) else description["sdp"]


async def act(
    graph: httpx.AsyncClient, action: str, call_id: str | None, page: str = PAGE, **more: Any
) -> httpx.Response:
    named = {} if call_id is None else {"call_id": call_id}
    return await ask(graph, "POST", "calls", {"platform": "messenger", "action": action} | named | more, page=page)


async def ask(
    graph: httpx.AsyncClient, method: str, edge: str, body: Any = None, *, page: str = PAGE, **params: str
) -> httpx.Response:
    return await graph.request(method, f"/v23.0/{page}/{edge}", json=body, params=params, headers=BEARER)


async def connect(graph: httpx.AsyncClient, offer: str, to: str = PSID, **more: Any) -> httpx.Response:
    return await act(graph, "connect", None, to=to, session={"sdp_type": "offer", "sdp": offer}, **more)


async def accept(graph: httpx.AsyncClient, call_id: str, offer: str) -> httpx.Response:
    return await act(graph, "accept", call_id, session={"sdp_type": "offer", "sdp": offer})


async def ring(graph: httpx.AsyncClient, webhooks: Webhooks, **new: Any) -> str:
    created = await graph.post("/sim/calls", json=new)
    assert created.status_code == 201, created.text
    connect = await webhooks.next()
    assert (connect["event"], connect["id"]) == ("connect", created.json()["call_id"])
    return str(connect["id"])


async def talk(graph: httpx.AsyncClient, webhooks: Webhooks, business: Business, **new: Any) -> str:
    call_id = await ring(graph, webhooks, **new)
    granted = await accept(graph, call_id, await business.offer())
    assert granted.status_code == 200, granted.text
    await business.apply(granted.json()["session"])
    assert (await wait(graph, call_id, state="connected"))["state"] == "connected"
    return call_id


async def wait(graph: httpx.AsyncClient, call_id: str, state: str = "ended") -> dict[str, Any]:
    waited = await graph.get(f"/sim/calls/{call_id}/wait", params={"state": state, "timeout_s": 10})
    return dict(waited.json())


async def error(response: Awaitable[httpx.Response], status: int = 400) -> dict[str, Any]:
    answered = await response
    assert answered.status_code == status
    told = answered.json()["error"]
    assert {"message", "type", "code", "fbtrace_id"} <= told.keys()
    return dict(told)
