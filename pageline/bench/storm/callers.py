"""The consumers of a storm: each goes through its plan and says, by webhooks, what Meta would say."""

import asyncio
from typing import Final

from pageline.bench import events
from pageline.bench.storm.graph import Graph
from pageline.bench.storm.mail import Element, Mail
from pageline.bench.storm.plan import Fate, Plan

UNDER_WAY: Final = 250
"""Calls at the same time: more than the workers have room for, so that some wait."""
GIVES_UP_AFTER_S: Final = 25.0
"""After this the consumer hangs up, whatever it waited for; or is not heard of again."""
MEDIA: Final = "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
"""A later offer of Meta's that no leg will take: what counts here is where it arrives."""


class Callers:
    """Rings for every plan, so many at a time."""

    def __init__(self, mail: Mail, graph: Graph) -> None:
        self._mail = mail
        self._graph = graph
        self._room = asyncio.Semaphore(UNDER_WAY)

    async def call(self, plan: Plan) -> None:
        """Live through one call."""
        async with self._room:
            if plan.odd:
                odd = {"id": plan.call_id, "event": "novelty", "timestamp": 1, "novelty": "Unheard of"}
                self._say(plan, "novelty", odd)
            if plan.fate is Fate.ONLY_ENDED:
                self._hang_up(plan)
                return
            if plan.fate is Fate.ENDED_FIRST:
                self._hang_up(plan)
                await asyncio.sleep(plan.patience_s / 5)
            self._say(plan, "connect", events.connect(plan.call_id, page=plan.page))
            match plan.fate:
                case Fate.ANSWERED:
                    await self._until(plan, "accept", "end")
                    for version in plan.media_versions:
                        sdp = MEDIA.format(version=version)
                        self._say(plan, f"media_update:{version}", events.media_update(plan.call_id, version, sdp))
                    await asyncio.sleep(plan.patience_s)
                    self._hang_up(plan)
                case Fate.GIVEN_UP:
                    await asyncio.sleep(plan.patience_s)
                    self._hang_up(plan)
                case Fate.DECLINED | Fate.RAISED:
                    if not await self._until(plan, "end"):
                        self._hang_up(plan)
                case Fate.FORSAKEN | Fate.RUNG_OUT:
                    await self._until(plan, "end")

    async def _until(self, plan: Plan, *actions: str) -> bool:
        """Wait for one of these actions of ours, and tell whether it came."""
        told = [asyncio.ensure_future(self._graph.told(plan.call_id, action).wait()) for action in actions]
        came, missing = await asyncio.wait(told, timeout=GIVES_UP_AFTER_S, return_when=asyncio.FIRST_COMPLETED)
        for each in missing:
            each.cancel()
        return bool(came)

    def _hang_up(self, plan: Plan) -> None:
        self._say(plan, f"terminate:{plan.status.lower()}", events.terminate(plan.call_id, plan.status))

    def _say(self, plan: Plan, mark: str, body: dict[str, object]) -> None:
        self._mail.put(Element(plan.call_id, plan.page, mark, body))
