"""A telephone made of GStreamer's webrtcbin: says one tone, measures another. Runs under Debian's own Python.

Reads one JSON command per line and answers each with one line.
"""

import json
import sys
import threading
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402  # versions are chosen first

SAY = (
    "webrtcbin name=webrtc bundle-policy=max-bundle "
    "audiotestsrc is-live=true freq={hz} volume=0.3 ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=111 "
    "! application/x-rtp,media=audio,encoding-name=OPUS,payload=111 ! queue ! webrtc."
)
BANDS = 4_800  # of 5 Hz each
HEAR = (
    "rtpopusdepay ! opusdec ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=1 "
    f"! spectrum bands={BANDS} threshold=-60 interval=500000000 ! fakesink sync=false"
)


class Phone:
    """One webrtcbin; its signals arrive on GStreamer's threads, its commands on the main one."""

    def __init__(self, hz: int) -> None:
        Gst.init(None)
        self.heard_hz = 0.0
        self.failure: str | None = None
        self._gathered = threading.Event()
        self._pipeline = Gst.parse_launch(SAY.format(hz=hz))
        self._webrtc = self._pipeline.get_by_name("webrtc")
        self._ice = self._webrtc.get_property("ice-agent")  # kept: Python takes over the only reference
        self._ice.emit("add-local-ip-address", "127.0.0.1")  # else all but loopback
        self._webrtc.connect("pad-added", self._hear)
        self._webrtc.connect("notify::ice-gathering-state", self._on_gathering)
        bus = self._pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", self._on_message)
        self._pipeline.set_state(Gst.State.PLAYING)

    def _hear(self, _webrtc: Any, pad: Any) -> None:
        if pad.direction is not Gst.PadDirection.SRC:
            return
        ear = Gst.parse_bin_from_description(HEAR, True)
        self._pipeline.add(ear)
        ear.sync_state_with_parent()
        pad.link(ear.get_static_pad("sink"))

    def _on_gathering(self, *_: Any) -> None:
        if self._webrtc.get_property("ice-gathering-state") is GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self._gathered.set()

    def _on_message(self, _bus: Any, message: Any) -> None:
        if message.type is Gst.MessageType.ERROR:
            self.failure = str(message.parse_error())
        structure = message.get_structure()
        if structure is not None and structure.get_name() == "spectrum":
            # Python cannot read the list of floats; its text can be.
            magnitudes = structure.to_string().split("magnitude=(float){", 1)[1].split("}", 1)[0]
            levels = [float(level) for level in magnitudes.split(",")]
            loudest = max(range(len(levels)), key=levels.__getitem__)
            self.heard_hz = (loudest + 0.5) * 24_000 / BANDS if levels[loudest] > -50 else 0.0

    def _ask(self, signal: str, *arguments: Any) -> Any:
        """Emit a signal whose last argument is a promise; return what was promised."""
        promise = Gst.Promise.new()
        self._webrtc.emit(signal, *arguments, promise)
        promise.wait()
        return promise.get_reply()

    def answer(self, sdp: str) -> str:
        _, message = GstSdp.SDPMessage.new_from_text(sdp)
        offer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, message)
        self._ask("set-remote-description", offer)
        reply = self._ask("create-answer", None)  # kept for as long as its value is used: it owns it
        self._ask("set-local-description", reply.get_value("answer"))
        if not self._gathered.wait(5):
            raise TimeoutError("the candidates were not gathered")
        return self._webrtc.get_property("local-description").sdp.as_text()


def obey(phone: Phone, command: dict[str, Any]) -> dict[str, Any]:
    match command["do"]:
        case "answer":
            return {"sdp": phone.answer(command["sdp"])}
        case "report":
            return {"hz": phone.heard_hz, "error": phone.failure}
        case unknown:
            return {"error": f"unknown command {unknown}"}


def serve(phone: Phone, loop: Any) -> None:
    for line in sys.stdin:
        try:
            reply = obey(phone, json.loads(line))
        except Exception as error:
            reply = {"error": repr(error)}
        print(json.dumps(reply), flush=True)
    loop.quit()


if __name__ == "__main__":
    main_loop = GLib.MainLoop()
    threading.Thread(target=serve, args=(Phone(int(sys.argv[1])), main_loop), daemon=True).start()
    main_loop.run()
