"""Agents of the desk on one call: their legs, and who hears whom. Media loop only.

An agent's leg is a `Leg` like the consumer's: we offer, the browser answers. While agent and consumer talk they are
bridged, undecoded; while a supervisor listens in, all are in a room; on hold the consumer hears music.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared import log
from shared.attending import Agent, Parted, Wish
from shared.calls import agent_facts, facts, orders
from shared.clock import monotonic_s
from shared.desk.floor import Floor
from shared.errors import RedisAway
from workers.media.leg import LegFailed
from workers.media.live_call import LiveCall
from workers.media.mixer import Mixer, Participant
from workers.media.spare_legs import SpareLegs

ANSWERED_WITHIN_S: Final = 20.0
"""A browser may have to ask the agent for the microphone."""
CONNECTED_WITHIN_S: Final = 10.0
LOOK_EVERY_S: Final = 1.0


@dataclass(eq=False)
class Party:
    """An agent on a call."""

    leg: str
    name: str
    listens: bool
    live: LiveCall | None = None
    connected: bool = False


class Agents:
    """The agents of one call, under one epoch."""

    def __init__(
        self,
        call_id: str,
        epoch: int,
        *,
        floor: Floor,
        legs: SpareLegs,
        lives: dict[LiveCall, None],
        say: Callable[[facts.Fact], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._call_id = call_id
        self._epoch = epoch
        self._page = ""
        self._caller = ""
        self._floor = floor
        self._legs = legs
        self._lives = lives
        self._say = say
        self._spawn = spawn
        self._parties: dict[str, Party] = {}
        self._wish: Wish | None = None
        self._since_ms: int | None = None
        self._ready: asyncio.Queue[Party] = asyncio.Queue()
        self._talking: Party | None = None
        self._held = False
        self._parted: Parted | None = None
        self._changed = asyncio.Event()
        self.position = 0

    def introduce(self, page: str, consumer: str) -> None:
        """Say what agents see of the call: the Page, and the end of the consumer's id."""
        self._page, self._caller = page, f"…{consumer[-4:]}"

    # -- orders ------------------------------------------------------------------------------------------------

    def perform(self, order: orders.AboutAgent) -> None:
        """Carry out an order, or start to."""
        if isinstance(order, orders.OfferAgent):
            party = self._parties[order.leg] = Party(order.leg, order.agent, order.listens)
            comes_back = self._talking is not None and self._talking.name == party.name
            if party.listens or self._wish is not None or comes_back:
                self._spawn(self._guarded(party, self._offer(party)))
            else:
                self._part(party, "failed", detail="the call waits for an agent no longer")
            return
        party_or_none = self._parties.get(order.leg)
        if party_or_none is None:
            return
        party = party_or_none
        match order:
            case orders.ConnectAgent(sdp=sdp):
                self._spawn(self._guarded(party, self._connect(party, sdp)))
            case orders.HoldCaller(on=on):
                self._hold(party, on)
            case orders.GiveAway(queue=queue, agent=agent):
                self._part(party, "transferred", Parted("transferred", queue, agent))
            case orders.PartFromAgent(because=because):
                self._part(party, because)

    # -- waiting -----------------------------------------------------------------------------------------------

    async def wait(self, wish: Wish) -> None:
        """Let the call wait in a queue."""
        self._wish = wish
        self.position = 0
        if self._talking is not None:  # the handler let nobody talk
            party, self._talking = self._talking, None
            self._part(party, "hung_up")
        self._say(agent_facts.Queued(queue=wish.queue, agent=wish.agent))
        if self._is_expected:  # an agent who was lost comes back over another leg
            return
        with contextlib.suppress(RedisAway):
            await self._enter(wish)

    @property
    def _is_expected(self) -> bool:
        """Whether an agent is about to be connected."""
        return any(not party.listens for party in self._parties.values())

    async def _enter(self, wish: Wish) -> None:
        since_ms = await self._floor.wait(
            self._call_id,
            self._epoch,
            wish.queue,
            agent=wish.agent,
            ahead=wish.ahead,
            page=self._page,
            caller=self._caller,
            since_ms=self._since_ms,
        )
        self._since_ms = since_ms or self._since_ms

    def stop_waiting(self) -> None:
        """Let the call wait no longer; an agent who is about to have it is let go."""
        if self._wish is not None:
            self._wish = None
            self._spawn(self._withdraw())
        for party in [each for each in self._parties.values() if not each.listens and each is not self._talking]:
            if not party.connected:
                self._part(party, "failed")

    async def _withdraw(self) -> None:
        with contextlib.suppress(RedisAway):
            await self._floor.withdraw(self._call_id)

    async def taken(self, within_s: float | None) -> Agent | None:
        """Wait until an agent who took the call is connected; None where nobody took it in time, or nobody is there."""
        until_s = None if within_s is None else monotonic_s() + within_s
        while True:
            left_s = LOOK_EVERY_S if until_s is None else min(LOOK_EVERY_S, max(0.0, until_s - monotonic_s()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    party = await self._ready.get()
                    if party.leg in self._parties:
                        self._talking, self._wish = party, None
                        self._parted, self._held = None, False
                        return Agent(party.name, party.leg)
            if await self._in_vain(until_s is not None and monotonic_s() >= until_s):
                return None

    async def _in_vain(self, too_late: bool) -> bool:
        try:
            standing = await self._floor.standing(self._call_id)
            self.position = standing.position
            if standing.position == 0 and not self._is_expected and self._wish is not None:
                await self._enter(self._wish)  # it was not told of before, or who took it is lost
                return False
            waits = standing.position > 0
            return waits and (too_late or not standing.staffed) and await self._floor.withdraw(self._call_id)
        except RedisAway:
            return False

    # -- talking -----------------------------------------------------------------------------------------------

    async def talk(self, caller: LiveCall, agent: Agent, music: Sequence[bytes]) -> Parted:
        """Let both hear each other until they part."""
        if self._talking is None or self._talking.name != agent.name:
            return self._parted or Parted("lost")
        try:
            while self._parted is None and self._talking.live is not None:
                self._changed.clear()
                carrying = asyncio.create_task(self._carry(caller, self._talking.live, music))
                changed = asyncio.create_task(self._changed.wait())
                try:
                    await asyncio.wait({carrying, changed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                    carrying.cancel()
                    await asyncio.wait({carrying, changed})
                self._conclude(carrying)
            return self._parted or Parted("lost")
        finally:
            party, self._talking = self._talking, None
            self._part(party, "hung_up")

    def _conclude(self, carrying: asyncio.Task[None]) -> None:
        """Look how it came that they hear each other no longer, if nobody wanted it."""
        error = None if carrying.cancelled() else carrying.exception()
        listeners = [each for each in self._parties.values() if each.listens and each.connected]
        if error is not None and listeners:  # a room is refused where the call is heard at another rate
            for party in listeners:
                self._part(party, "failed", detail=str(error))
        elif error is not None:
            raise error
        elif not carrying.cancelled() and self._parted is None and not self._changed.is_set():
            self._parted = Parted("lost")

    async def _carry(self, caller: LiveCall, agent: LiveCall, music: Sequence[bytes]) -> None:
        listeners = [each.live for each in self._parties.values() if each.listens and each.connected and each.live]
        if self._held:
            while True:
                await caller.play(music) if music else await asyncio.Event().wait()
        elif listeners:
            mixer = Mixer(48000, self)
            everybody = [(caller, False), (agent, False), *((each, True) for each in listeners)]
            joined = [(live, Participant(mixer, live.leg, listen_only=silent)) for live, silent in everybody]
            try:
                for live, participant in joined:
                    live.join(participant)
                await asyncio.Event().wait()
            finally:
                for live, participant in joined:
                    live.leave(participant)
        else:
            await caller.bridge(agent)

    def _hold(self, party: Party, on: bool) -> None:
        if party is not self._talking or on == self._held:
            return
        self._held = on
        self._changed.set()
        self._say(agent_facts.Held(leg=party.leg) if on else agent_facts.Resumed(leg=party.leg))
        self._note(party, "held" if on else "live")

    # -- legs --------------------------------------------------------------------------------------------------

    async def _guarded(self, party: Party, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except Exception as error:  # noqa: BLE001 whatever it is, it must not end the consumer's call
            log.get().error("agent.failed", call=self._call_id, exc_info=error)
            self._part(party, "failed", detail=type(error).__name__)

    async def _offer(self, party: Party) -> None:
        try:
            leg, offer = await self._legs.take()
        except LegFailed as failed:
            self._part(party, "failed", detail=failed.reason)
            return
        if party.leg not in self._parties:
            await leg.close()
            return
        party.live = LiveCall(leg, call_id=self._call_id)
        leg.on_ended = lambda reason: self._part(party, "connection_lost", detail=reason)
        self._say(agent_facts.AgentOffered(leg=party.leg, sdp=offer))
        asyncio.get_running_loop().call_later(ANSWERED_WITHIN_S, self._give_up, party)

    def _give_up(self, party: Party) -> None:
        if not party.connected:
            self._part(party, "failed", detail=f"not connected within {ANSWERED_WITHIN_S:g} s")

    async def _connect(self, party: Party, answer: str) -> None:
        live, began_s = party.live, monotonic_s()
        if live is None:
            return
        try:
            await live.leg.apply(answer, None)
            await live.leg.connected(CONNECTED_WITHIN_S)
        except LegFailed as failed:
            self._part(party, "failed", detail=failed.reason)
            return
        if party.leg not in self._parties:
            return
        party.connected = True
        self._lives[live] = None
        live.speak()
        self._say(agent_facts.AgentConnected(leg=party.leg, setup_ms=int((monotonic_s() - began_s) * 1000)))
        if party.listens:
            self._changed.set()
            return
        self._note(party, "live")
        if self._talking is None:
            self._ready.put_nowait(party)
        else:  # the same agent over another leg
            old, self._talking, self._held = self._talking, party, False
            self._part(old, "connection_lost", detail="the agent came back over another leg")

    def _part(self, party: Party, because: str, parted: Parted | None = None, *, detail: str = "") -> None:
        """Close an agent's leg and say why; nothing where that was done."""
        if self._parties.pop(party.leg, None) is None:
            return
        self._say(agent_facts.AgentLeft(leg=party.leg, because=because, detail=detail))
        if party.live is not None:
            self._lives.pop(party.live, None)
            party.live.leg.on_ended = None
            self._spawn(_close(party.live))
        if not party.listens:
            self._note(party, "")
        if party is self._talking and self._parted is None:
            self._parted = parted or (Parted("hung_up") if because == "hung_up" else Parted("lost"))
        elif self._talking is not None and self._talking.name == party.name and not party.connected:
            self._part(self._talking, "connection_lost", detail="the agent could not come back")
        self._changed.set()

    def _note(self, party: Party, state: str) -> None:
        self._spawn(self._tell(party.leg, state))

    async def _tell(self, leg: str, state: str) -> None:
        with contextlib.suppress(RedisAway):
            await self._floor.note(self._call_id, self._epoch, leg, state)

    def part_from_all(self, because: str) -> None:
        """Close the legs of all agents: the call is over."""
        for party in list(self._parties.values()):
            self._part(party, because)

    async def abandon(self, *, quietly: bool) -> None:
        """Close the legs without a word to Redis, `quietly` without one on the media path either."""
        parties, self._parties = list(self._parties.values()), {}
        for live in [party.live for party in parties if party.live is not None]:
            self._lives.pop(live, None)
            live.leg.on_ended = None
            if quietly:
                live.leg.mute_forever()
            await live.close()


async def _close(live: LiveCall) -> None:
    await live.close()
