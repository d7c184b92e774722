"""An Ogg file of Opus packets (RFC 3533, RFC 7845), made as the packets come. Pure: packets in, pages out.

Each page is whole, so that a file that ends early is played to the end of its last page. Nothing is skipped at the
beginning: a recording begins in the middle of a stream, and what a decoder has to get used to there is part of it.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Final

from workers.media.opus import packet_samples
from workers.media.rtp import CLOCK_RATE

PAGE_SAMPLES: Final = CLOCK_RATE
"""A page holds a second (RFC 7845 section 6 advises so)."""

_HEADER = struct.Struct("<4sBBqLLLB")  # RFC 3533 section 6
_CHECKSUM_AT: Final = 22
_FIRST, _LAST = 0x02, 0x04
_MOST_SEGMENTS: Final = 255
_CHANNELS, _PRE_SKIP, _GAIN, _MAPPING = 1, 0, 0, 0
_VENDOR: Final = b"pageline"

HEAD: Final = b"OpusHead" + struct.pack("<BBHLhB", 1, _CHANNELS, _PRE_SKIP, CLOCK_RATE, _GAIN, _MAPPING)
TAGS: Final = b"OpusTags" + struct.pack("<L", len(_VENDOR)) + _VENDOR + struct.pack("<L", 0)

_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(page: bytes) -> int:
    """Return a page's CRC, reckoned while its own field is 0 (RFC 3533 section 6).

    It is zlib's, with the bits of every byte, and of the result, the other way round, and nothing inverted.
    """
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


class OggOpus:
    """One file; `serial` is any 32-bit number, `head` says what its packets hold (RFC 7845 section 5.1)."""

    def __init__(self, serial: int, head: bytes = HEAD) -> None:
        self._serial = serial
        self._head = head
        self._pages = 0
        self._samples = 0
        """Up to the end of the last packet taken."""
        self._waiting: list[bytes] = []
        self._segments = self._waiting_samples = 0

    def begin(self) -> bytes:
        """Return what comes before all sound."""
        return self._page([self._head], 0, _FIRST) + self._page([TAGS], 0)

    def add(self, packets: Sequence[bytes]) -> bytes:
        """Take packets that follow each other without a gap, and return the pages that are full now, if any.

        The newest packet always stays, for a last page.
        """
        pages = bytearray()
        for packet in packets:
            samples, segments = packet_samples(packet), len(packet) // 255 + 1
            if self._waiting and (
                self._waiting_samples + samples > PAGE_SAMPLES or self._segments + segments > _MOST_SEGMENTS
            ):
                pages += self._turn()
            self._waiting.append(packet)
            self._segments += segments
            self._waiting_samples += samples
            self._samples += samples
        return bytes(pages)

    def end(self) -> bytes:
        """Return the last page; it is empty where there was no sound at all."""
        return self._turn(_LAST)

    def _turn(self, flags: int = 0) -> bytes:
        page = self._page(self._waiting, self._samples, flags)
        self._waiting, self._segments, self._waiting_samples = [], 0, 0
        return page

    def _page(self, packets: Sequence[bytes], position: int, flags: int = 0) -> bytes:
        """Return a page of whole packets that plays up to `position`, in samples since the beginning."""
        lengths = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
        header = _HEADER.pack(b"OggS", 0, flags, position, self._serial, self._pages, 0, len(lengths))
        page = bytearray(b"".join((header, lengths, *packets)))
        struct.pack_into("<L", page, _CHECKSUM_AT, checksum(bytes(page)))
        self._pages += 1
        return bytes(page)
