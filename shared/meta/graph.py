"""Bodies of Graph's `/{page}/calls` edge and its error envelope (page-calls reference; error-handling guide)."""

from typing import Any

import msgspec

from shared.meta.sdp import EitherSpelling, text_of


class GraphError(msgspec.Struct, frozen=True):
    """The `error` of an envelope; only `message` and `code` are certain."""

    message: str = ""
    code: int | None = None
    error_subcode: int | None = None
    is_transient: bool = False
    fbtrace_id: str | None = None


class _Session(msgspec.Struct, frozen=True):
    sdp_response: EitherSpelling = None
    sdp_renegotiation: EitherSpelling = None


class CallsReply(msgspec.Struct, frozen=True):
    """`PageCallsResponse`, or an error."""

    success: bool | str | None = None
    session: _Session | None = None
    error: GraphError | None = None

    @property
    def answer(self) -> str | None:
        """Return Meta's answer to our offer."""
        return None if self.session is None else text_of(self.session.sdp_response)

    @property
    def renegotiation(self) -> str | None:
        """Return the offer that Meta sends along with its answer."""
        return None if self.session is None else text_of(self.session.sdp_renegotiation)


_decode = msgspec.json.Decoder(CallsReply, strict=False).decode
_encode = msgspec.json.Encoder().encode


def request_body(action: str, call_id: str, offer: str | None = None) -> bytes:
    """Return the JSON body of an action on a call."""
    body: dict[str, Any] = {"platform": "messenger", "call_id": call_id, "action": action}
    if offer is not None:
        body["session"] = {"sdp_type": "offer", "sdp": offer}
    return _encode(body)


def read_reply(body: bytes) -> CallsReply | None:
    """Decode a reply; none where it is no JSON of Graph's, such as a gateway's HTML."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
