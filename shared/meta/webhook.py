"""Webhook bodies of object `page` as facts about calls.

Each element is decoded on its own, so that an odd one spoils no other (Meta batches up to 1,000 updates in one POST and
mixes Pages). Source: calling/webhooks; contradictions of the pages are accepted both ways.
"""

import hashlib
import re
from typing import Any, Final

import msgspec

from shared.calls import facts
from shared.meta.call_settings import CallSettings, of_meta
from shared.meta.sdp import EitherSpelling, digest_of, text_of
from shared.unreadable import UNREADABLE

CALL_FIELD: Final = "calls"
SETTINGS_FIELD: Final = "call_settings"
REPLY_FIELD: Final = "call_permission_reply"
_NOT_FIELDS: Final = frozenset({"id", "time", "sender", "recipient", "timestamp", CALL_FIELD})
_DIRECTIONS: Final = ("user_initiated", "business_initiated")
_DAY_MS: Final = 86_400_000
_ESCAPES: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Escapes in JSON text; half of a surrogate pair, as in a message cut after so many UTF-16 units, is a `lone` one."""
_AROUND_AN_ENTRY: Final = (b'{"object":"page","entry":[', b"]}")
_MILLISECONDS_FROM: Final = 100_000_000_000
"""Timestamps above this are milliseconds; calling pages show seconds, messaging pages milliseconds."""
_LARGEST: Final = 2**53
"""Larger numbers are not exact everywhere they pass through."""


class _Envelope(msgspec.Struct):
    object: str
    entry: list[msgspec.Raw] = []


class _Session(msgspec.Struct):
    version: int = 0
    sdp_renegotiation: EitherSpelling = None


class _Element(msgspec.Struct, rename={"sender": "from"}):
    """An event of a call; what only describes it may be anything: an odd duration must not keep a call from ending."""

    id: str
    event: str
    timestamp: Any = 0
    to: str | int = ""
    sender: str | int = ""
    call_direction: str = "user_initiated"
    call_status: str = ""
    recipient_id: str | int = ""
    session: _Session | None = None
    status: Any = None
    start_time: Any = None
    end_time: Any = None
    duration: Any = None


class _Party(msgspec.Struct):
    id: str | int


class _Reply(msgspec.Struct):
    response: str
    expiration_timestamp: Any = None


class _Message(msgspec.Struct):
    """An element that may hold a consumer's leave to call: on the entry itself in Meta's sample, or in `messaging`."""

    sender: _Party | None = None
    recipient: _Party | None = None
    timestamp: Any = 0
    call_permission_reply: _Reply | None = None


class CallEvent(msgspec.Struct, frozen=True):
    """One fact about one call; of two with the same identity the second is a repeat."""

    call_id: str
    fact: facts.Fact
    identity: str


class PermissionReply(msgspec.Struct, frozen=True):
    """A consumer's leave to call, or refusal: of a Page, not of a call."""

    page: str
    consumer: str
    fact: facts.PermissionReplied


class Unreadable(msgspec.Struct, frozen=True):
    """What of a signed body could not be read, kept whole: the body, an entry, or an element."""

    body: bytes
    why: str
    around: tuple[bytes, bytes] = (b"", b"")
    """The envelope it came in, without its neighbours."""

    @property
    def alone(self) -> bytes:
        """Return it as a body of its own, which `read` takes."""
        return self.body.join(self.around)


class SettingsTold(msgspec.Struct, frozen=True):
    """The call settings of a Page have changed (callsettings, `call_settings_update`)."""

    page: str
    settings: CallSettings
    sent_ms: int
    """Unix milliseconds."""


class Received(msgspec.Struct, frozen=True):
    """What one POST said."""

    events: list[CallEvent]
    replies: list[PermissionReply]
    unreadable: list[Unreadable]
    other_fields: list[str]
    """Names of fields that are not calls, one per entry that has them."""
    settings: list[SettingsTold] = []


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_entry = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_element = msgspec.json.Decoder(_Element, strict=False).decode
_decode_settings = msgspec.json.Decoder(dict[str, Any]).decode
_decode_any = msgspec.json.Decoder().decode
_decode_message = msgspec.json.Decoder(_Message, strict=False).decode
_decode_page = msgspec.json.Decoder(str | int).decode


def read(body: bytes, *, now_ms: int, answer_window_ms: int) -> Received:
    """Decode a signed body. Never raises: what cannot be read is returned as unreadable."""
    received = Received([], [], [], [])
    try:
        envelope = _open(body)
        if envelope.object != "page":
            received.other_fields.append(envelope.object)
            return received
    except UNREADABLE as error:
        received.unreadable.append(Unreadable(body, str(error)))
        return received
    for raw_entry in envelope.entry:
        try:
            entry = _decode_entry(raw_entry)
            elements = _decode_elements(entry[CALL_FIELD]) if CALL_FIELD in entry else []
            page = str(_decode_page(entry["id"])) if elements else ""
        except (*UNREADABLE, KeyError) as error:
            received.unreadable.append(Unreadable(bytes(raw_entry), f"entry: {error!r}", _AROUND_AN_ENTRY))
            continue
        received.other_fields.extend(name for name in entry if name not in _NOT_FIELDS)
        if SETTINGS_FIELD in entry and (told := _settings_told(entry, now_ms)):
            received.settings.append(told)
        if REPLY_FIELD in entry or "messaging" in entry:
            _read_replies(raw_entry, entry, received)
        for raw_element in elements:
            try:
                received.events.append(
                    _event(_decode_element(raw_element), raw_element, page, now_ms, answer_window_ms)
                )
            except (*UNREADABLE, ValueError, OverflowError) as error:
                received.unreadable.append(Unreadable(bytes(raw_element), str(error), _around_an_element(page)))
    return received


def _settings_told(entry: dict[str, msgspec.Raw], now_ms: int) -> SettingsTold | None:
    """Read what an entry tells of call settings; what is odd about it is passed over: Graph can be asked."""
    try:
        settings = _decode_settings(entry[SETTINGS_FIELD])
        page, sent_ms = str(_decode_page(entry["id"])), _ms(_decode_any(entry.get("time", b"0")))
    except (*UNREADABLE, KeyError):
        return None
    return SettingsTold(page, of_meta(settings), sent_ms or now_ms)


def _read_replies(raw_entry: msgspec.Raw, entry: dict[str, msgspec.Raw], received: Received) -> None:
    """Read what an entry says of leave to call; other messages are not ours to read."""
    try:
        said = [raw_entry] if REPLY_FIELD in entry else _decode_elements(entry["messaging"])
    except UNREADABLE:
        return  # forwarded as it is, where somebody wants it
    for raw in said:
        if f'"{REPLY_FIELD}"'.encode() not in bytes(raw):
            continue
        try:
            message = _decode_message(raw)
            received.replies.append(_reply(message))
        except (*UNREADABLE, ValueError) as error:
            received.unreadable.append(Unreadable(bytes(raw), f"{REPLY_FIELD}: {error}", _AROUND_AN_ENTRY))


def _reply(message: _Message) -> PermissionReply:
    reply = message.call_permission_reply
    if reply is None or message.sender is None or message.recipient is None:
        raise ValueError("it names no sender, no recipient or no response")
    response = {"accept": "approve"}.get(reply.response.lower(), reply.response.lower())  # WhatsApp's word
    fact = facts.PermissionReplied(
        response=response, replied_at_ms=_ms(message.timestamp), expires_s=_whole(reply.expiration_timestamp)
    )
    return PermissionReply(str(message.recipient.id), str(message.sender.id), fact)


def _around_an_element(page: str) -> tuple[bytes, bytes]:
    before, after = _AROUND_AN_ENTRY
    return before + b'{"id":%s,"calls":[' % msgspec.json.encode(page), b"]}" + after


def _open(body: bytes) -> _Envelope:
    """Decode the envelope; a lone surrogate anywhere would cost the whole of it, so it becomes U+FFFD."""
    try:
        return _decode_envelope(body)
    except msgspec.DecodeError:
        mended = _ESCAPES.sub(lambda escape: b"\\ufffd" if escape["lone"] else escape[0], body)
        if mended == body:
            raise
        return _decode_envelope(mended)


def _event(element: _Element, raw: msgspec.Raw, page: str, now_ms: int, answer_window_ms: int) -> CallEvent:
    if not element.id or len(element.id) > 256:
        raise ValueError("the call id is empty or longer than 256 characters")
    match element.event:
        case "connect":
            if element.call_direction.lower() not in _DIRECTIONS:
                raise ValueError("a connect with an unknown call_direction")
            sent_at_ms = _ms(element.timestamp)
            if not 0 < sent_at_ms < now_ms + _DAY_MS:  # nobody can have called then; now is the best guess
                sent_at_ms = now_ms
            arrived = facts.Arrived(
                page=page,
                consumer=next((str(party) for party in (element.sender, element.to) if str(party) != page), ""),
                direction=element.call_direction.lower(),
                sent_at_ms=sent_at_ms,
                answer_by_ms=min(sent_at_ms, now_ms) + answer_window_ms,
            )
            return CallEvent(element.id, arrived, "connect")
        case "call_status":
            status = element.call_status.lower()
            changed = facts.StatusChanged(status=status, page=page, consumer=str(element.recipient_id))
            return CallEvent(element.id, changed, f"call_status:{status}")
        case "media_update":
            session = element.session or _Session()
            sdp = text_of(session.sdp_renegotiation)
            if sdp is None:
                raise ValueError("a media_update without an SDP")
            identity = f"media_update:{session.version}:{digest_of(sdp)}"
            return CallEvent(element.id, facts.MediaChanged(version=session.version, sdp=sdp), identity)
        case "terminate":
            terminated = facts.Terminated(
                status=element.status.lower() if isinstance(element.status, str) else "",
                duration_s=_whole(element.duration),
                start_s=_whole(element.start_time),
                end_s=_whole(element.end_time),
            )
            return CallEvent(element.id, terminated, f"terminate:{terminated.status}")
        case unknown:
            body = bytes(raw)
            identity = f"{unknown[:64]}:{hashlib.blake2b(body, digest_size=8).hexdigest()}"
            return CallEvent(element.id, facts.Unrecognized(event=unknown, body=body.decode()), identity)


def _ms(timestamp: Any) -> int:
    """Return a time in Unix milliseconds; 0 where it is none."""
    number = _whole(timestamp) or 0
    return number if abs(number) > _MILLISECONDS_FROM else number * 1000


def _whole(value: Any) -> int | None:
    """Return a whole number, whether it comes as one, as a fraction or as text; none where it is no such thing."""
    try:
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= _LARGEST else None
