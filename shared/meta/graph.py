"""Bodies of Graph's `/{page}/calls` edge and its error envelope (page-calls reference; error-handling guide)."""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec

from shared.meta.sdp import EitherSpelling, text_of
from shared.unreadable import UNREADABLE

T = TypeVar("T")


THROTTLED_CODES: Final = frozenset({4, 17, 32, 341, 613, *range(80000, 80015)})
"""Graph limits the app, the Page or this kind of call (rate-limiting; error-codes)."""
TOKEN_CODES: Final = frozenset({102, 190})
"""The access token is not valid (error-handling)."""


class GraphError(msgspec.Struct, frozen=True):
    """The `error` of an envelope; only `message` and `code` are certain."""

    message: str = ""
    code: int | None = None
    error_subcode: int | None = None
    is_transient: bool = False
    fbtrace_id: str | None = None


class CallsReply(msgspec.Struct, frozen=True):
    """`PageCallsResponse`, or an error."""

    success: Any = None
    call_id: str | None = None
    """Meta's id of the call that a `connect` made."""
    answer: str | None = None
    """Meta's answer to our offer."""
    renegotiation: str | None = None
    """The offer that Meta sends along with its answer."""
    error: GraphError | None = None


_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_decode_spelling = msgspec.json.Decoder(EitherSpelling).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_whole = msgspec.json.Decoder(int | None, strict=False).decode
_decode_flag = msgspec.json.Decoder(bool, strict=False).decode
_ERROR_FIELDS: Final[dict[str, Callable[[msgspec.Raw], Any]]] = {
    "message": _decode_text,
    "code": _decode_whole,
    "error_subcode": _decode_whole,
    "is_transient": _decode_flag,
    "fbtrace_id": _decode_text,
}

_encode = msgspec.json.Encoder().encode


def connect_body(consumer: str, offer: str) -> bytes:
    """Return the JSON body that places a call (initiate-call)."""
    session = {"sdp_type": "offer", "sdp": offer}
    return _encode({"platform": "messenger", "to": consumer, "action": "connect", "session": session})


def request_body(action: str, call_id: str, offer: str | None = None) -> bytes:
    """Return the JSON body of an action on a call."""
    body: dict[str, Any] = {"platform": "messenger", "call_id": call_id, "action": action}
    if offer is not None:
        body["session"] = {"sdp_type": "offer", "sdp": offer}
    return _encode(body)


def media_body(
    call_id: str,
    sdp: str | None,
    *,
    kind: str = "offer",
    tracks: Iterable[tuple[str, str, str]] = (),
    version: int | None = None,
) -> bytes:
    """Return the JSON body of a `media_update` (videocalling).

    Args:
        call_id: Meta's id of the call.
        sdp: our description; none where tracks are switched that Meta knows.
        kind: `offer`, or `answer` to an offer of Meta's.
        tracks: msid, label and status of each.
        version: of the media as it is; an offer makes the next. Integers: the guide's strings are its alone.
    """
    body: dict[str, Any] = {"platform": "messenger", "call_id": call_id, "action": "media_update"}
    if version is not None:
        body |= {"from_version": version, "to_version": version + 1}
    named = [dict(zip(("msid", "label", "status"), track, strict=True)) for track in tracks]
    if named:
        body["tracks"] = named
    if sdp is not None:
        body["session"] = {"sdp_type": kind, "sdp": sdp}
    return _encode(body)


def read_reply(body: bytes) -> CallsReply | None:
    """Decode a reply; none where it is no JSON of Graph's, such as a gateway's HTML.

    Each part is read on its own: this reply is the only copy of Meta's answer, and an odd neighbour must not cost it.
    """
    try:
        reply = _decode_object(body)
    except UNREADABLE:
        return None
    session = _part(reply, "session", _decode_object) or {}
    return CallsReply(
        success=_part(reply, "success", _decode_any),
        call_id=_part(reply, "id", _decode_text) or _part(reply, "call_id", _decode_text),
        answer=text_of(_part(session, "sdp_response", _decode_spelling)),
        renegotiation=text_of(_part(session, "sdp_renegotiation", _decode_spelling)),
        error=_error_of(reply),
    )


def _error_of(reply: dict[str, msgspec.Raw]) -> GraphError | None:
    """Return Graph's error with what can be read of it; an odd one is an error all the same."""
    if bytes(reply.get("error", b"null")) == b"null":
        return None
    fields = _part(reply, "error", _decode_object)
    if fields is None:
        return GraphError(message=_part(reply, "error", _decode_text) or "")
    read = {name: _part(fields, name, decode) for name, decode in _ERROR_FIELDS.items()}
    return GraphError(**{name: value for name, value in read.items() if value is not None})


def _part(whole: dict[str, msgspec.Raw], name: str, decode: Callable[[msgspec.Raw], T]) -> T | None:
    """Return one part; none where it is missing, null or odd."""
    try:
        return decode(whole[name])
    except (KeyError, *UNREADABLE):
        return None
