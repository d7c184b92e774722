"""Which handler has a call: the one chosen for it, whoever that gives it to, or who takes over when one raises."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from shared import log
from shared.calls import facts, state
from shared.errors import HandlerUnusable
from shared.handling import NO_OPTIONS, Call, CallEnded, Handler
from workers.media import last_words
from workers.media.casting import Casting
from workers.media.handler import Script
from workers.media.host import STOP_GRACE_S, Host

if TYPE_CHECKING:
    from workers.media.performer import Performer

TRANSFERRED: Final = "transferred"


class Succession:
    """The handlers of one call, one after the other. Media loop only."""

    def __init__(self, performer: "Performer", host: Host, casting: Casting, apology: Sequence[bytes]) -> None:
        self._performer = performer
        self._host = host
        self._casting = casting
        self._apology = apology
        self._call = state.Call()
        self._heirs: deque[str] = deque()
        self._options: Mapping[str, str] = NO_OPTIONS
        self._given_to: Script | None = None
        self._outcome = ""

    def start(self, call: state.Call) -> None:
        """Run the handler that is chosen for the call."""
        self._call = call
        cast = self._casting.of(call)
        self._heirs, self._options = deque(cast.names), cast.options
        self._start_heir()

    def run_on_lost(self, call: state.Call) -> None:
        """Run what the chosen handler's module has for a call whose worker died."""
        self._call = call
        cast = self._casting.of(call)
        try:
            script = self._casting.script(cast.names[0], cast.options)
        except HandlerUnusable as unusable:
            self._ended("raised", str(unusable), "")
            return
        if script.on_lost is None:
            self._ended("returned", "", "")
        else:
            self._host.start(self._public(script), script.on_lost, self._ended)
            self.stop("lost", after_s=STOP_GRACE_S)

    def stop(self, outcome: str, *, after_s: float = 0) -> None:
        """Let whoever has the call be the last, and raise `CallEnded` there."""
        self._outcome = outcome
        if after_s:
            asyncio.get_running_loop().call_later(after_s, self._host.stop, self._performer.call_id, outcome)
        else:
            self._host.stop(self._performer.call_id, outcome)

    def transfer(self, to: str | Handler, options: Mapping[str, str]) -> None:
        """Give the call to another handler as soon as whoever has it has ended.

        Raises:
            CallEnded: the call has ended.
            HandlerUnusable: there is no such handler.
        """
        if self._outcome:
            raise CallEnded(self._outcome)
        if isinstance(to, str):
            self._given_to = self._casting.script(to, options)
        else:
            self._given_to = Script(f"{to.__module__}:{to.__qualname__}", to, None, options)
        self._host.stop(self._performer.call_id, TRANSFERRED)

    def _start_heir(self) -> None:
        name = self._heirs.popleft()
        try:
            script = self._casting.script(name, self._options)
        except HandlerUnusable as unusable:
            self._ended("raised", str(unusable), "")
        else:
            self._run(script)

    def _run(self, script: Script) -> None:
        self._performer.say(facts.HandlerStarted(handler=script.name))
        self._host.start(self._public(script), script.handler, self._ended)

    def _ended(self, how: str, error: str, traceback: str) -> None:
        given_to, self._given_to = self._given_to, None
        if how == "raised":
            said, where = (log.veiled(text, self._call.consumer) for text in (error, traceback))
            self._performer.log.error("handler.raised", error=said, traceback=where)
        if self._outcome or (given_to is None and not (how == "raised" and self._heirs)):
            self._end(facts.HandlerEnded(how=how, error=error, traceback=traceback))
            return
        because = "raised" if how == "raised" else TRANSFERRED
        self._performer.say(facts.HandlerReplaced(because=because, error=error, traceback=traceback))
        self._performer.handler_replaced()
        if given_to is not None:
            self._run(given_to)
        else:
            self._start_heir()

    def _end(self, ended: facts.HandlerEnded) -> None:
        if ended.how == "raised":
            self._performer.spawn(self._apologise(ended))
        else:
            self._performer.say(ended)

    async def _apologise(self, ended: facts.HandlerEnded) -> None:
        """Tell the consumer that something went wrong, and only then that the handler is over, which ends the call."""
        try:
            await last_words.say(self._performer.live, self._apology)
        finally:
            self._performer.say(ended)

    def _public(self, script: Script) -> Call:
        return self._performer.public(self._call, script.options)
