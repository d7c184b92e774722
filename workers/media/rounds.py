"""One round every 20 ms: hear all calls, hand over what was heard, then speak for all.

Each step is done for every call before the next begins: its code and data stay in the processor's caches.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from shared import log
from shared.handling import Frame
from workers.media import intake
from workers.media.host import Ear, Host
from workers.media.live_call import LiveCall

SECOND_TURN_S: Final = 0.005
"""So long after they hear, handlers may answer for it to leave at once, and not in the next round."""


class Rounds:
    """The sound of a worker's calls."""

    def __init__(self, host: Host) -> None:
        self.lives: dict[LiveCall, None] = {}
        """The calls, in the order in which they came."""
        self._host = host
        self._log = log.get()

    def go(self) -> None:
        """Do one round."""
        if not self.lives:
            return
        heard: list[tuple[Ear, Frame]] = []
        self._for_each(lambda live: live.listen(heard))
        if heard:
            self._host.deliver(heard)
            asyncio.get_running_loop().call_later(SECOND_TURN_S, self._for_each, LiveCall.catch_up)
        self._for_each(LiveCall.speak)

    def _for_each(self, step: Callable[[LiveCall], None]) -> None:
        with intake.batch():
            for live in tuple(self.lives):
                try:
                    step(live)
                except Exception:  # noqa: BLE001 logged, and the end of this call only
                    self.lives.pop(live, None)  # one call's sound must not stop everybody's
                    self._log.exception("call.sound_failed", call=live.call_id)
                    if live.leg.on_ended is not None:
                        live.leg.on_ended("its sound could not be carried")
