"""Calls of the business's: asks people for permission, and rings them as they are told to behave."""

import asyncio
import time

from simulator import hooks
from simulator.calls import Call, new_id, now_ms
from simulator.people import People, Person
from simulator.permissions import Permissions
from simulator.postman import Delivery, Postman
from simulator.settings import Settings
from simulator.switchboard import Switchboard, join


class Outbound:
    """Places the business's calls and answers its requests in the consumers' name."""

    def __init__(
        self,
        settings: Settings,
        switchboard: Switchboard,
        postman: Postman,
        people: People,
        permissions: Permissions,
    ) -> None:
        self._settings = settings
        self._switchboard = switchboard
        self._postman = postman
        self._people = people
        self._permissions = permissions

    def ask(self, page: str, psid: str) -> None:
        """Shows a permission request to the person, who answers it in their own time; raises `Refused`."""
        self._permissions.count_request(page, psid)
        self._switchboard.spawn(self._reply(page, psid, self._people.person(psid)))

    async def connect(self, page: str, psid: str, offer_sdp: str) -> Call:
        """Starts a call to a person; the device answers the offer at once, long before the person does.

        Raises:
            Refused: without permission, over the quota, or for an offer that is none.
        """
        self._permissions.check_call(page, psid)
        person = self._people.person(psid)
        phone = await self._people.phone(person)
        media = await join(phone, offer_sdp, self._settings)
        call = Call(
            id=new_id(),
            direction="business_initiated",
            page=page,
            psid=psid,
            consumer=phone,
            answer_shape=self._settings.answer_shape,
            hang_up_after_s=person.hang_up_after_s,
            started_ms=now_ms(),
            media=media,
            media_version=self._settings.first_version,
        )
        self._switchboard.calls[call.id] = call
        self._permissions.count_call(page, psid)
        self._switchboard.end_later(call, self._settings.ring_timeout_s, "timeout")
        if self._settings.overtake:
            if (last := self._ring(call, person)) is not None:
                await last.tried.wait()
        else:
            self._switchboard.later(call, self._settings.ring_after_s, lambda: self._ring(call, person))
        return call

    def _ring(self, call: Call, person: Person) -> Delivery | None:
        """Lets the device ring and somebody come to it or not; returns the last webhook about it."""
        sent: Delivery | None = None
        if self._settings.connect_webhook:
            call.webhook_sent_ms = now_ms()
            sent = self._postman.send_event(call.page, hooks.connect(call))
        if person.pickup == "unreachable":
            return sent
        call.rang_ms = now_ms()
        sent = self._postman.send_event(call.page, hooks.call_status(call, "ringing", at_s=time.time()))
        after_s = person.pickup_after_ms / 1000
        if person.pickup == "decline":
            self._switchboard.end_later(call, after_s, "consumer")
        elif person.pickup == "answer":
            self._switchboard.later(call, after_s, lambda: self._pick_up(call))
        return sent

    def _pick_up(self, call: Call) -> None:
        """Puts the phone to the consumer's ear; the offer that carries their voice follows the news."""
        call.picked_up_ms = now_ms()
        call.consumer.pick_up()
        self._switchboard.watch_media(call)
        self._postman.send_event(call.page, hooks.call_status(call, "accepted", at_s=time.time()))
        self._switchboard.update_media(call)

    async def _reply(self, page: str, psid: str, person: Person) -> None:
        """Answers a permission request as the person does, and tells the business."""
        await asyncio.sleep(person.optin_after_ms / 1000)
        if person.optin_reply == "ignore":
            return
        expires_s = self._permissions.grant(page, psid) if person.optin_reply == "approve" else None
        entry = hooks.permission_reply(
            page, psid, person.optin_reply, expires_s=expires_s, place=self._settings.permission_reply_in
        )
        self._postman.send(page, entry, event="call_permission_reply")
