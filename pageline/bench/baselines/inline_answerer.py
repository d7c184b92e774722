"""Answers calls inside the webhook's process: Starlette and stock aiortc, nothing kept, nothing repeated.

With ECHO=answer callers hear themselves, decoded and encoded anew; with ECHO=forward packet by packet; else silence.
"""

import asyncio
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack
from aiortc.rtp import HeaderExtensionsMap, RtpPacket
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

SECRET = os.environ["META_APP_SECRET"].encode()
GRAPH = f"{os.environ['GRAPH_URL']}/{os.environ['GRAPH_VERSION']}"
ECHO = os.environ.get("ECHO", "")
peers: dict[str, RTCPeerConnection] = {}
http = httpx.AsyncClient(timeout=5, trust_env=False)


async def webhook(request: Request) -> Response:
    """Check and decode one POST; answer its calls after the 200."""
    body = await request.body()
    signed = request.headers.get("x-hub-signature-256", "")
    expected = "sha256=" + hmac.new(SECRET, body, "sha256").hexdigest()
    if not hmac.compare_digest(expected, signed):
        return PlainTextResponse("bad signature", status_code=401)
    said = await request.json()
    elements = [(entry["id"], element) for entry in said["entry"] for element in entry.get("calls", ())]
    return JSONResponse({"ok": True}, background=BackgroundTask(handle, elements))


async def handle(elements: list[tuple[str, dict[str, Any]]]) -> None:
    """Do what the events ask for."""
    for page, element in elements:
        if element["event"] == "connect":
            await answer(page, element["id"])
        elif element["event"] == "terminate" and (peer := peers.pop(element["id"], None)):
            await peer.close()


async def answer(page: str, call_id: str) -> None:
    """Offer, accept, and apply Meta's answer."""
    peer = peers[call_id] = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # no STUN: it would wait for a reply

    sender = peer.addTransceiver(AudioStreamTrack() if not ECHO else "audio").sender

    @peer.on("track")
    async def heard(track: MediaStreamTrack) -> None:
        if ECHO == "answer":
            sender.replaceTrack(track)
        elif ECHO == "forward":
            forward(peer.getReceivers()[0], sender)
        else:
            hole = MediaBlackhole()
            hole.addTrack(track)
            await hole.start()

    await peer.setLocalDescription(await peer.createOffer())
    session = {"sdp_type": "offer", "sdp": peer.localDescription.sdp}
    action = {"platform": "messenger", "call_id": call_id, "action": "accept", "session": session}
    reply = await http.post(f"{GRAPH}/{page}/calls", json=action, headers={"authorization": "Bearer x"})
    text = reply.raise_for_status().json()["session"]["sdp_response"]
    await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))


def forward(receiver: RTCRtpReceiver, sender: RTCRtpSender) -> None:
    """Send what is received back, undecoded."""
    extensions = HeaderExtensionsMap()

    async def pass_on(packet: RtpPacket, arrival_time_ms: int) -> None:
        packet.ssrc = sender._ssrc
        await sender.transport._send_rtp(packet.serialize(extensions))

    receiver._handle_rtp_packet = pass_on


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Close what is open at the end."""
    yield
    await asyncio.gather(*(peer.close() for peer in peers.values()))
    await http.aclose()


app = Starlette(routes=[Route("/webhook", webhook, methods=["POST"])], lifespan=lifespan)
