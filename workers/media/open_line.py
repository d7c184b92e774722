"""The handlers' side of the line: how one asks for a call to be placed, or for a message to be sent."""

from shared.bus import Bus
from shared.errors import RedisAway
from shared.messenger import Messenger
from shared.meta.messages import Message
from shared.outbound import KeyReused, Outbound
from shared.settings import Settings
from workers.media.host import Host


class OpenLine:
    """What `shared.line.Line` asks of the worker; every method runs on the handlers' loop and crosses over."""

    def __init__(self, host: Host, bus: Bus, settings: Settings) -> None:
        self._host = host
        self._bus = bus
        self._outbound = Outbound(bus)
        self._messenger = Messenger(bus)
        self._settings = settings

    async def call(
        self,
        page: str,
        psid: str,
        handler: str,
        *,
        ask_permission: bool,
        within_s: float | None,
        ring_s: float,
        key: str,
    ) -> str:
        """See `Line.call`."""
        if handler and not self._settings.may_run(handler):
            raise ValueError(f"{handler} is in no module that is configured; add it to CALL_HANDLERS")
        placed = self._outbound.wanted(
            page, psid, handler=handler, ask_permission=ask_permission, within_s=within_s, ring_s=ring_s
        )
        try:
            return await self._host.on_media_loop(self._outbound.place(placed, key=key))
        except KeyReused as reused:
            raise ValueError(str(reused)) from reused
        except RedisAway as away:
            raise ConnectionError(f"the call to Page {page}'s consumer may not be placed: {away}") from away

    async def message(self, page: str, psid: str, message: Message) -> str:
        """See `Line.message`."""
        return await self._host.on_media_loop(self._messenger.send(page, psid, message))
