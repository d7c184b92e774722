"""SRTP in place (RFC 3711): packets are opened and sealed where they lie, in one buffer for the whole process.

A media worker handles one packet at a time, in one thread: what came from a socket into `packet` is opened there, read
or rewritten there, and sealed there to be sent on. pylibsrtp's own methods copy a packet four times on that way. Who
wants to keep something of a packet copies it; who writes one has done with the one before.
"""

from typing import Any, Final

from pylibsrtp import Session
from pylibsrtp._binding import ffi, lib

PACKET_BYTES: Final = 2048
MAX_RTP_BYTES: Final = 1300
"""What is sealed at most: the rest of an ordinary MTU is for SRTP and UDP. The seal is written behind the packet."""

_bytes: Final = ffi.new("char[]", PACKET_BYTES)
_length: Final = ffi.new("int *")

packet: Final[memoryview] = memoryview(ffi.buffer(_bytes))
"""The packet at hand, of the media loop only."""


class Seal:
    """One direction of an SRTP association; `session` is pylibsrtp's, which owns the keys."""

    def __init__(self, session: Session) -> None:
        self._session = session  # its context is freed with it
        self._context: Any = session._srtp[0]

    def open(self, length: int) -> int:
        """Open the SRTP packet of so many bytes; return the RTP packet's length, 0 if it is not authentic."""
        _length[0] = length
        return 0 if lib.srtp_unprotect(self._context, _bytes, _length) else int(_length[0])

    def close(self, length: int) -> int:
        """Seal the RTP packet of so many bytes; return the SRTP packet's length, 0 if it was refused."""
        if length > MAX_RTP_BYTES:
            return 0
        _length[0] = length
        return 0 if lib.srtp_protect(self._context, _bytes, _length) else int(_length[0])
