"""A session description in both spellings of Meta's pages: a plain string, or `{"sdp_type", "sdp"}`."""

import hashlib

import msgspec


class Description(msgspec.Struct, frozen=True):
    """The object spelling (page-calls reference); where it stands tells offers from answers, not its `sdp_type`."""

    sdp: str = ""


EitherSpelling = str | Description | None


def text_of(description: EitherSpelling) -> str | None:
    """Return the SDP itself, or none where there is none."""
    if isinstance(description, Description):
        description = description.sdp
    return description or None


def digest_of(sdp: str) -> str:
    """Return a short name for this exact SDP, for telling repeats from changes."""
    return hashlib.blake2b(sdp.encode(), digest_size=8).hexdigest()
