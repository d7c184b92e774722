"""SRTP in place (RFC 3711): packets are opened and sealed where they lie, in one buffer for the whole process.

A media worker handles one packet at a time, in one thread: what came from a socket is opened in `packet`, read or
rewritten there, and sealed there to be sent on. pylibsrtp's own methods copy a packet four times on that way. Who
wants to keep something of a packet copies it; who writes one has done with the one before.
"""

from typing import Any, Final

from pylibsrtp import Session
from pylibsrtp._binding import ffi, lib

PACKET_BYTES: Final = 2048
MAX_RTP_BYTES: Final = 1400
"""What is sealed at most: the rest of an ordinary MTU is for SRTP and UDP. The seal is written behind the packet."""

_bytes: Final = ffi.new("char[]", PACKET_BYTES)
_length: Final[Any] = ffi.new("int *")
_whole: Final[Any] = ffi.buffer(_bytes)

packet: Final = memoryview(_whole)
"""The packet at hand, of the media loop only."""

_unprotect: Final = lib.srtp_unprotect
_protect: Final = lib.srtp_protect


class Seal:
    """One direction of an SRTP association; `session` is pylibsrtp's, which owns the keys."""

    __slots__ = ("_context", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session  # its context is freed with it
        self._context: Any = session._srtp[0]

    def open(self, sealed: bytes) -> int:
        """Open an SRTP packet into `packet`; return the RTP packet's length, 0 if it is not authentic."""
        _length[0] = length = len(sealed)
        _whole[:length] = sealed
        opened: int = 0 if _unprotect(self._context, _bytes, _length) else _length[0]
        return opened

    def close(self, length: int) -> bytes:
        """Seal the RTP packet of so many bytes in `packet`; return the SRTP packet, nothing if it was refused."""
        _length[0] = length
        if length > MAX_RTP_BYTES or _protect(self._context, _bytes, _length):
            return b""
        sealed: bytes = _whole[: _length[0]]
        return sealed
