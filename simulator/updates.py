"""Changes while a call goes on: the consumer mutes, shows a picture, presses keys; the business sends pictures."""

from simulator import sound
from simulator.calls import Call, Refused
from simulator.keypad import KEYS
from simulator.media import CAMERA, Media
from simulator.phone import Phone
from simulator.sdp import InvalidSdp, Offer, ssrc_of
from simulator.settings import Settings
from simulator.switchboard import Switchboard

Tracks = dict[str, dict[str, str]]


class Updates:
    """Makes the changes, one at a time in each call."""

    def __init__(self, settings: Settings, switchboard: Switchboard) -> None:
        self._settings = settings
        self._switchboard = switchboard

    async def from_consumer(self, call: Call, *, video: bool | None, muted: bool | None) -> None:
        """Switches the consumer's camera or microphone and tells the business, as also when nothing changes (6.1)."""
        media = _media(call)
        async with media.lock:
            if muted is not None:
                _phone(call).mute(muted=muted)
                call.muted = muted
            if video is not None and video != media.camera_on:
                await self._switch_camera(_phone(call), media, on=video)
            self._switchboard.update_media(call)

    def say(self, call: Call, playlist: sound.Playlist) -> None:
        """Lets the consumer say something else."""
        _media(call)
        _phone(call).say(playlist)

    async def press(self, call: Call, digits: str) -> None:
        """Presses keys on the consumer's dial pad; returns when the last is let go."""
        _media(call)
        if not digits or set(digits) - set(KEYS):
            raise Refused(100, f"A dial pad has the keys {KEYS}")
        if not await _phone(call).press(digits):
            raise Refused(100, "The business's offer has no telephone events that this phone knows")

    def switch_tracks(self, call: Call, tracks: Tracks) -> None:
        """Takes note of what the business says of tracks that are known."""
        _refuse_unknown(tracks, _media(call).track_ids())
        call.tracks |= tracks

    async def renegotiate(
        self, call: Call, offer_sdp: str, tracks: Tracks, from_version: int, to_version: int
    ) -> Media | None:
        """Brings a new offer of the business's to the device; None where the versions collide (6.3).

        Raises:
            Refused: for an offer that is none or does not go on with the call.
        """
        media = _media(call)
        async with media.lock:
            if to_version != from_version + 1:
                raise Refused(100, "Invalid parameter: to_version must be from_version + 1")
            if from_version != call.media_version:
                if self._settings.conflict == "error":
                    raise Refused(100, "Conflicting media state")
                return None
            try:
                offer = Offer.parse(offer_sdp)
                media.check(offer)
                _refuse_unknown(tracks, {section.track_id for section in offer.sections if section.track_id})
                if media.take(offer):
                    await call.consumer.answer(media.device_offer())
            except InvalidSdp as error:
                raise Refused(2018392, f"Invalid SDP parameter: {error}") from error
            call.tracks |= tracks
            call.media_version = to_version
            return media

    async def _switch_camera(self, phone: Phone, media: Media, *, on: bool) -> None:
        phone.show_camera(on=on)
        if not media.has_camera:
            media.add_camera()
            media.show_camera(ssrc_of(await phone.answer(media.device_offer()), CAMERA))
        media.camera_on = on


def _media(call: Call) -> Media:
    if call.state == "ended":
        raise Refused(2018395 if call.status == "Failed" else 2018396, "Cannot update a terminated call")
    if call.media is None or (call.direction == "business_initiated" and call.picked_up_ms is None):
        raise Refused(100, "Only an accepted call that goes on has media to update")
    return call.media


def _phone(call: Call) -> Phone:
    if not isinstance(call.consumer, Phone):
        raise Refused(100, "This phone is in a browser: use its own buttons")
    return call.consumer


def _refuse_unknown(tracks: Tracks, known: set[str]) -> None:
    if unknown := set(tracks) - known:
        raise Refused(100, f"Invalid track msid: {min(unknown)} is no track of the offer")
