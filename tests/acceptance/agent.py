"""An agent of the desk without a browser: logs in, speaks the WebSocket, and talks over a peer of stock aiortc."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from simulator.phone import gather_on
from tests.acceptance.standin import Consumer, Meta, until

T = TypeVar("T")
WITHIN_S: Final = 20.0


class Agent(Consumer):
    """Somebody at the desk; has a voice and ears as a consumer has."""

    def __init__(self, meta: Meta, base: str, name: str, password: str, hz: int) -> None:
        super().__init__(meta, "", hz)
        self.run: Callable[[Coroutine[Any, Any, T]], T] = meta.run
        self.name = name
        self.said: list[dict[str, Any]] = []
        """What the desk said, in order."""
        self.closed_with: int | None = None
        self.deaf = False
        """Offers are left without an answer."""
        self.base = base
        self.credentials = {"name": name, "password": password}
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self.cookie = ""

    # -- what the agent does

    def log_in(self) -> httpx.Response:
        """Log in, and keep the cookie."""
        reply = httpx.post(f"{self.base}/desk/login", data=self.credentials)
        self.cookie = reply.headers.get("set-cookie", "").partition(";")[0]
        return reply

    def sit_down(self, base: str = "", *, ready: bool = True) -> "Agent":
        """Open the desk, at this web process, logged in before."""
        if not self.cookie:
            assert self.log_in().status_code == 303
        self.base = base or self.base
        self.run(self._open(self.base))
        self.await_message("welcome")
        self.tell("ready", ready=ready)
        until(lambda: self.last("desk")["me"]["state"] != "away" or not ready, f"{self.name} is ready")
        return self

    def tell(self, kind: str, **what: Any) -> None:
        """Say something to the desk."""
        assert self._socket is not None
        self.run(self._socket.send(json.dumps({"type": kind, **what})))

    def take(self, call_id: str | None = None) -> dict[str, Any]:
        """Take a call and return what the desk says of it once it is live."""
        mark = len(self.said)
        self.tell("take", call=call_id)
        return self.await_state("live", after=mark)

    def stand_up(self) -> None:
        """Close the desk; the headset is put down with it."""
        self.run(self._stand_up())

    def drop(self) -> None:
        """Lose the media connection, as when a laptop is closed."""
        self.run(self._put_down())

    # -- what the agent sees

    def last(self, kind: str) -> dict[str, Any]:
        """Return the last message of a kind, or an empty desk."""
        return next((each for each in reversed(self.said) if each["type"] == kind), {"me": {"state": "away"}})

    def await_message(self, kind: str, *, after: int = 0, **fields: Any) -> dict[str, Any]:
        """Wait for a message with these fields."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.said[after:] if each["type"] == kind and fields.items() <= each.items()]

        try:
            return until(found, f"{kind} {fields} to {self.name}", timeout_s=WITHIN_S)[0]
        except AssertionError as error:
            raise AssertionError(f"{error}; was told {self.said[after:][-6:]}") from None

    def await_state(self, state: str, *, after: int = 0) -> dict[str, Any]:
        """Wait until the agent's call is in this state."""
        return self.await_message("call", after=after, state=state)

    def await_desk(self, condition: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Wait until the desk looks so."""
        until(lambda: "waiting" in self.last("desk") and condition(self.last("desk")), f"{self.name} sees {what}")
        return self.last("desk")

    @property
    def mark(self) -> int:
        """Return how much was said so far."""
        return len(self.said)

    # -- on the stand-in's loop

    async def _open(self, base: str) -> None:
        headers = {"cookie": self.cookie, "origin": base}
        self._socket = await connect(base.replace("http", "ws") + "/desk/ws", additional_headers=headers)
        self._reading = asyncio.create_task(self._read(self._socket))

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                message = json.loads(text)
                self.said.append(message)
                if message["type"] == "offer" and not self.deaf:
                    answer = await self._answer(message["sdp"])
                    await socket.send(json.dumps({"type": "answer", "leg": message["leg"], "sdp": answer}))
                elif message["type"] == "call" and message["state"] == "ended":
                    await self._put_down()
        except ConnectionClosed:
            pass
        self.closed_with = socket.close_code

    async def _answer(self, offer: str) -> str:
        await self._put_down()
        peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._heard.clear()
        self.pick_up(peer)
        await gather_on(peer, ["127.0.0.1"])
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return peer.localDescription.sdp

    async def _put_down(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()

    async def _stand_up(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._reading is not None:
            await self._reading
        await self._put_down()
