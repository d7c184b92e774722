"""One consumer's end of a call: waits under its ICE name, shakes hands, and then only has packets to send."""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from pylibsrtp import Session

from pageline.bench.media.secured import Handshake, Identity

SAMPLES: Final = 960
"""What 20 ms of Opus count in RTP's clock."""
WORDS_PER_S: Final = 50
_HEADER = struct.Struct("!BBHLL")


class Sent(NamedTuple):
    """A packet on its way."""

    sequence: int
    payload_number: int
    at_ns: int


class FarEnd:
    """A call as its consumer has it; `number` is its place in the order of ringing."""

    def __init__(self, number: int, call_id: str, identity: Identity, words: Sequence[bytes]) -> None:
        self.number = number
        self.call_id = call_id
        self.ice_name = f"EbT4cXksCyVKQMC/{number:04}"
        self.password = f"74O3IvX6AV9ulmb9ud{number:06}"
        self.opus = 111
        self.source = b""
        """Where the peer sends from, a `struct sockaddr_in`; empty before its first check."""
        self.port = 0
        self.pause_packets = 1
        """Sends one packet of so many: 1 speaks, 20 is what DTX leaves of silence."""
        self.sent: list[Sent] | None = None
        """What was sent, where that is kept."""
        self.words = words
        self._handshake = Handshake(identity)
        self._sequence = 1000 + number
        self._timestamp = 160_000 + SAMPLES * number
        self._next = WORDS_PER_S * number  # at the beginning of a word, so that it is heard from the first packet on
        self._ssrc = 0x50000000 + number
        self._tx: Session
        self._rx: Session

    @property
    def connected(self) -> bool:
        """Whether media can flow."""
        return self._handshake.keys is not None

    @property
    def gone(self) -> bool:
        """Whether the peer has said goodbye."""
        return self._handshake.closed

    def take_dtls(self, datagram: bytes) -> list[bytes]:
        """Go on with the handshake; return what is to be sent."""
        replies = self._handshake.take(datagram)
        if self._handshake.keys is not None:
            self._tx, self._rx = self._handshake.keys
        return replies

    def next_packet(self, at_ns: int) -> bytes | None:
        """Return the packet of the next 20 ms, encrypted; none in a pause."""
        number = self._next
        self._next = number + 1
        self._timestamp = timestamp = (self._timestamp + SAMPLES) & 0xFFFFFFFF
        if number % self.pause_packets:
            return None
        self._sequence = sequence = (self._sequence + 1) & 0xFFFF
        payload_number = number % len(self.words)
        if self.sent is not None:
            self.sent.append(Sent(sequence, payload_number, at_ns))
        header = _HEADER.pack(0x80, self.opus, sequence, timestamp, self._ssrc)
        packet: bytes = self._tx.protect(header + self.words[payload_number])
        return packet

    def payload_of(self, packet: bytes) -> bytes:
        """Return the Opus payload of a packet of the peer's; header extensions are stepped over."""
        plain: bytes = self._rx.unprotect(packet)
        start = 12 + 4 * (plain[0] & 0x0F)
        if plain[0] & 0x10:
            start += 4 + 4 * int.from_bytes(plain[start + 2 : start + 4], "big")
        return plain[start:]
