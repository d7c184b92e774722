"""Delivers webhooks: in order at first, and again until they are taken or patience ends."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from simulator import hooks
from simulator.call_settings import Pages
from simulator.chaos import Chaos
from simulator.settings import Settings

log = structlog.get_logger("simulator")


@dataclass(slots=True)
class Delivery:
    """Records one webhook: every attempt and what the receiver said; status None where no answer came."""

    call_id: str | None
    event: str
    attempts: list[dict[str, float | int | None]] = field(default_factory=list)
    delivered: bool = False
    withheld: str | None = None
    """Why it was never sent; None: it was."""
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after the first attempt."""

    def view(self) -> dict[str, Any]:
        """Returns it as JSON shows it."""
        return {
            "call_id": self.call_id,
            "event": self.event,
            "attempts": self.attempts,
            "delivered": self.delivered,
            "withheld": self.withheld,
        }


class Postman:
    """Posts webhooks; anything but a 200 is tried again after growing pauses, and given up in the end.

    The first attempts for one call come in the order of what happened; what is tried again may be overtaken.
    """

    def __init__(self, settings: Settings, pages: Pages, chaos: Chaos) -> None:
        self._chaos = chaos
        self._pages = pages
        self.deliveries: list[Delivery] = []
        self._settings = settings
        self._latest: dict[str, Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._client = httpx.AsyncClient(timeout=settings.webhook_timeout_s, trust_env=False)

    def send_event(self, page: str, event: hooks.Event) -> Delivery:
        """Starts to deliver one event of a call's."""
        return self.send(page, hooks.calls(page, event), field="calls", call_id=event["id"], event=event["event"])

    def send(
        self, page: str, entry: hooks.Event, *, event: str, field: str | None = None, call_id: str | None = None
    ) -> Delivery:
        """Starts to deliver one entry, if the app is subscribed to its field."""
        delivery = Delivery(call_id, event)
        self.deliveries.append(delivery)
        if (field or event) not in self._pages.subscribed(page):
            delivery.withheld = f"the Page is not subscribed to the field {field or event}"
            delivery.tried.set()
            return delivery
        before = self._latest.get(call_id or "")
        if call_id is not None:
            self._latest[call_id] = delivery
        task = asyncio.get_running_loop().create_task(self._deliver(delivery, hooks.body(entry), before))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return delivery

    async def close(self) -> None:
        """Closes the connections; webhooks that are not taken within a second are lost."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def _deliver(self, delivery: Delivery, raw: bytes, before: Delivery | None) -> None:
        """Posts one webhook until the receiver answers 200 or patience ends."""
        journey = self._chaos.journey(delivery.event)
        if journey.overtaken:
            delivery.tried.set()
        elif before is not None:
            await before.tried.wait()
        await asyncio.sleep(journey.late_s)
        for pause_s in (None, *self._settings.webhook_retry_pauses_s):
            if pause_s:
                await asyncio.sleep(pause_s)
            status = await self._post(delivery, raw)
            delivery.tried.set()
            if status == httpx.codes.OK:
                delivery.delivered = True
                if journey.again_after_s is not None:
                    await asyncio.sleep(journey.again_after_s)
                    await self._post(delivery, raw)
                return
        log.warning("webhook.given_up", call_id=delivery.call_id, webhook=delivery.event, status=status)

    async def _post(self, delivery: Delivery, raw: bytes) -> int | None:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "facebookexternalua",
            "X-Hub-Signature-256": hooks.signature(self._settings.app_secret, raw),
        }
        sent_ms = time.time() * 1000
        status: int | None = None
        with suppress(httpx.TransportError):  # as good as refused
            status = (await self._client.post(self._settings.webhook_url, content=raw, headers=headers)).status_code
        delivery.attempts.append({"sent_ms": sent_ms, "took_ms": time.time() * 1000 - sent_ms, "status": status})
        return status
