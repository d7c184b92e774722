"""The far end's half of ICE (RFC 8445, lite): answer every binding request, and know from it who calls from where.

All calls share one port, as Meta's do: the user name of the request tells them apart.
"""

import hmac
import struct
import zlib
from typing import Final

BINDING_REQUEST: Final = b"\x00\x01"
_COOKIE: Final = 0x2112A442
_USERNAME, _INTEGRITY, _XOR_MAPPED_ADDRESS, _FINGERPRINT = 0x0006, 0x0008, 0x0020, 0x8028  # RFC 8489, section 18.3
_HEADER = struct.Struct("!HHL12s")
_ATTRIBUTE = struct.Struct("!HH")


def local_name_in(request: bytes) -> str:
    """Return the part of a request's USERNAME that names us; empty where there is none."""
    at = _HEADER.size
    while at + _ATTRIBUTE.size <= len(request):
        kind, length = _ATTRIBUTE.unpack_from(request, at)
        at += _ATTRIBUTE.size
        if kind == _USERNAME:
            return request[at : at + length].decode(errors="replace").partition(":")[0]
        at += length + -length % 4
    return ""


def response(request: bytes, name: bytes, password: bytes) -> bytes:
    """Return the success response to a request from this address, a `struct sockaddr_in`."""
    transaction = request[8:20]
    port, address = struct.unpack_from("!HL", name, 2)
    mapped = struct.pack("!HHxBHL", _XOR_MAPPED_ADDRESS, 8, 1, port ^ _COOKIE >> 16, address ^ _COOKIE)
    covered = _head(len(mapped) + 24, transaction) + mapped
    signed = mapped + _ATTRIBUTE.pack(_INTEGRITY, 20) + hmac.digest(password, covered, "sha1")
    whole = _head(len(signed) + 8, transaction) + signed
    return whole + _ATTRIBUTE.pack(_FINGERPRINT, 4) + struct.pack("!L", zlib.crc32(whole) ^ 0x5354554E)


def _head(length: int, transaction: bytes) -> bytes:
    return _HEADER.pack(0x0101, length, _COOKIE, transaction)
