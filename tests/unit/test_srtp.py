"""SRTP in place makes and takes what pylibsrtp's own methods do, under every profile that aiortc agrees on."""

import random
import struct

import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES, SRTPProtectionProfile
from pylibsrtp import Policy, Session

from workers.media import srtp
from workers.media.srtp import MAX_RTP_BYTES, Seal

every_profile = pytest.mark.parametrize("profile", SRTP_PROFILES, ids=lambda profile: profile.openssl_profile.decode())
WINDOW = 1024


def session(profile: SRTPProtectionProfile, direction: int, *, seed: int = 1) -> Session:
    key = random.Random(seed).randbytes(profile.key_length + profile.salt_length)
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=profile.libsrtp_profile)
    policy.allow_repeat_tx, policy.window_size = True, WINDOW  # as aiortc has them
    return Session(policy)


def sender(profile: SRTPProtectionProfile, *, seed: int = 1) -> Session:
    return session(profile, Policy.SSRC_ANY_OUTBOUND, seed=seed)


def receiver(profile: SRTPProtectionProfile, *, seed: int = 1) -> Session:
    return session(profile, Policy.SSRC_ANY_INBOUND, seed=seed)


def rtp(sequence: int, payload: bytes = b"sound", *, extension: bytes = b"") -> bytes:
    first = 0x90 if extension else 0x80
    return struct.pack("!BBHLL", first, 111, sequence & 0xFFFF, sequence * 960 & 0xFFFFFFFF, 77) + extension + payload


def put(data: bytes) -> int:
    srtp.packet[: len(data)] = data
    return len(data)


def taken(length: int) -> bytes:
    return bytes(srtp.packet[:length])


@every_profile
def test_what_is_sealed_in_place_is_what_pylibsrtp_seals_and_opens(profile: SRTPProtectionProfile) -> None:
    """Through a wrap of the sequence number too, after which the two sides count on by themselves."""
    ours, theirs, ear = Seal(sender(profile)), sender(profile), receiver(profile)
    for number in range(65_530, 65_545):
        plain = rtp(number, random.Random(number).randbytes(number % 200))
        sealed = ours.close(put(plain))
        assert sealed == theirs.protect(plain)
        assert ear.unprotect(sealed) == plain


@every_profile
def test_what_pylibsrtp_sealed_is_opened_in_place_in_whichever_order_it_comes(profile: SRTPProtectionProfile) -> None:
    theirs, ours, chance = sender(profile), Seal(receiver(profile)), random.Random(3)
    plains = [rtp(65_500 + number, bytes(number), extension=b"\xbe\xde\0\1\x10\xff\0\0") for number in range(60)]
    sealed = [theirs.protect(plain) for plain in plains]
    order = sorted(range(60), key=lambda place: place + chance.uniform(0, 10))
    for place in order:
        assert taken(ours.open(sealed[place])) == plains[place]


@every_profile
def test_a_packet_that_comes_twice_is_refused(profile: SRTPProtectionProfile) -> None:
    theirs, ours = sender(profile), Seal(receiver(profile))
    sealed = [theirs.protect(rtp(number)) for number in range(WINDOW + 100)]
    assert all(ours.open(data) for data in sealed)
    assert [ours.open(data) for data in sealed] == [0] * len(sealed), "the oldest as well, of which nobody keeps a note"


@every_profile
def test_a_packet_changed_anywhere_is_refused_and_the_true_one_is_taken_after_it(
    profile: SRTPProtectionProfile,
) -> None:
    theirs, ours = sender(profile), Seal(receiver(profile))
    sealed = theirs.protect(rtp(1))
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 0x04
        assert ours.open(bytes(changed)) == 0, place
    for length in range(len(sealed)):
        assert ours.open(sealed[:length]) == 0, length
    assert taken(ours.open(sealed)) == rtp(1)


@every_profile
def test_a_packet_under_other_keys_is_refused(profile: SRTPProtectionProfile) -> None:
    assert Seal(receiver(profile)).open(sender(profile, seed=2).protect(rtp(1))) == 0


@every_profile
def test_what_is_no_packet_is_neither_sealed_nor_opened(profile: SRTPProtectionProfile) -> None:
    ours, inward = Seal(sender(profile)), Seal(receiver(profile))
    for data in (b"", b"\x80", rtp(1)[:11], b"\x90" + rtp(1)[1:12] + b"\xbe\xde\xff\xff"):
        assert ours.close(put(data)) == b""
        assert inward.open(data) == 0


@every_profile
def test_packets_up_to_the_longest_pass_and_leave_what_lies_behind_them_alone(profile: SRTPProtectionProfile) -> None:
    ours, inward, long = Seal(sender(profile)), Seal(receiver(profile)), rtp(1, bytes(MAX_RTP_BYTES - 12))
    srtp.packet[:] = b"\xaa" * srtp.PACKET_BYTES
    sealed = ours.close(put(long))
    assert MAX_RTP_BYTES < len(sealed) <= MAX_RTP_BYTES + 16
    assert taken(srtp.PACKET_BYTES)[len(sealed) :] == b"\xaa" * (srtp.PACKET_BYTES - len(sealed))
    assert inward.open(sealed) == MAX_RTP_BYTES
    assert taken(MAX_RTP_BYTES) == long


@every_profile
def test_a_packet_that_is_too_long_is_refused(profile: SRTPProtectionProfile) -> None:
    """Up to the end of the buffer, behind which its seal would be written."""
    ours = Seal(sender(profile))
    for sequence, length in enumerate((MAX_RTP_BYTES + 1, srtp.PACKET_BYTES - 4, srtp.PACKET_BYTES)):
        assert ours.close(put(rtp(sequence, bytes(length - 12)))) == b""
