"""Graph, and behind it the far end of every call."""

import asyncio

import msgspec

from pageline.bench import graph
from pageline.bench.media import speech
from pageline.bench.media.far_end import FarEnd
from pageline.bench.media.offers import Offered
from pageline.bench.media.secured import Identity
from pageline.bench.media.wheel import Wheel


class _Session(msgspec.Struct):
    sdp: str = ""


class _Action(msgspec.Struct):
    call_id: str
    action: str
    session: _Session = msgspec.field(default_factory=_Session)


_action_of = msgspec.json.Decoder(_Action).decode


class Exchange:
    """Graph, and the consumers behind it."""

    def __init__(self, identity: Identity, port: int, wheel: Wheel) -> None:
        self._identity = identity
        self._port = port
        self._wheel = wheel
        self._called: dict[str, FarEnd] = {}
        self._connected: dict[int, asyncio.Event] = {}
        self._number = 0
        wheel.on_connected = lambda far_end: self._connected[far_end.number].set()

    @property
    def calls(self) -> list[FarEnd]:
        """Return the calls that are up, the oldest first."""
        return [far_end for far_end in self._called.values() if far_end.connected]

    def new(self, prefix: str, *, expected_loss_percent: int = 5) -> FarEnd:
        """Return the far end of a call that is about to ring."""
        self._number += 1
        words = speech.words(expected_loss_percent)
        far_end = FarEnd(self._number, f"{prefix}_{self._number}", self._identity, words)
        self._called[far_end.call_id] = far_end
        self._connected[far_end.number] = asyncio.Event()
        self._wheel.expect(far_end)
        return far_end

    async def connected(self, far_end: FarEnd) -> None:
        """Wait until the call can be heard."""
        await self._connected[far_end.number].wait()

    def forget(self, far_end: FarEnd) -> None:
        """Be done with a call."""
        self._called.pop(far_end.call_id, None)
        self._wheel.forget(far_end)

    def take(self, body: bytes, at_s: float) -> bytes:
        """Do what Graph is asked for (`graph.GraphConnection` calls this)."""
        asked = _action_of(body)
        far_end = self._called.get(asked.call_id)
        if asked.action == "terminate" and far_end is not None:
            self.forget(far_end)
        if asked.action != "accept" or far_end is None:
            return graph.reply(b'{"success":true}')
        session = {"sdp_type": "answer", "sdp_response": self.answer(far_end, asked.session.sdp)}
        return graph.reply(msgspec.json.encode({"success": True, "session": session}))

    def answer(self, far_end: FarEnd, offer: str) -> str:
        """Return a far end's answer to an offer."""
        offered = Offered.read(offer)
        far_end.opus = offered.opus
        return graph.ANSWER.format(
            port=self._port,
            name=far_end.ice_name,
            password=far_end.password,
            fingerprint=self._identity.fingerprint,
            mid=offered.mid,
            opus=offered.opus,
        )
