"""Opus by ctypes: the libopus inside PyAV's wheel, or else the system's.

PyAV's own codec objects know no concealment and no in-band FEC, and allocate a frame per packet; a phone call needs the
first two and cannot afford the third.
"""

import ctypes
import ctypes.util
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

FRAME_MS = 20
CLIP_RATE = 48_000
MAX_PACKET_BYTES = 1275  # RFC 6716 section 3.4, R2
MAX_PACKET_MS = 120  # RFC 6716 section 3.4, R5
DTX_BYTES = 2  # a packet no longer than this only says that the sender is silent (RFC 6716 section 2.1.9)

_VOIP = 2048  # OPUS_APPLICATION_VOIP
LEAST_LOSS_PERCENT, MOST_LOSS_PERCENT = 10, 30
"""What an encoder prepares for: libopus 1.6 puts no FEC into 24 kbit/s of speech where it expects less than 8 %."""

_SET_BITRATE, _SET_MAX_BANDWIDTH, _SET_COMPLEXITY = 4002, 4004, 4010
_SET_INBAND_FEC, _SET_PACKET_LOSS_PERC, _SET_DTX = 4012, 4014, 4016
_NARROWBAND = 1101  # OPUS_BANDWIDTH_NARROWBAND; medium, wide, super-wide and full band follow
_PLAYED_AT = (8_000, 12_000, 16_000, 24_000)  # Hz up to which each but the last is enough (RFC 6716 section 2)

# RFC 6716 table 2, in tenths of a millisecond: SILK-only, hybrid, CELT-only configurations.
_FRAME_TENTHS = [100, 200, 400, 600] * 3 + [100, 200] * 2 + [25, 50, 100, 200] * 4


class OpusError(RuntimeError):
    """libopus refused what it was given; `code` is its own error number."""

    def __init__(self, doing: str, code: int) -> None:
        super().__init__(f"libopus could not {doing}: error {code}")
        self.code = code


def _candidates() -> Iterator[str]:
    spec = find_spec("av")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        for folder in (package.parent / "av.libs", package / ".dylibs"):
            yield from (str(path) for path in sorted(folder.glob("*opus*")))
    if (found := ctypes.util.find_library("opus")) is not None:
        yield found


def _load(kind: type[ctypes.CDLL], paths: Iterable[str]) -> ctypes.CDLL:
    for path in paths:
        try:
            library = kind(path)
            library.opus_decoder_create.restype = library.opus_encoder_create.restype = ctypes.c_void_p
        except (OSError, AttributeError):
            continue
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        library.opus_decode.argtypes = [pointer, text, number, pointer, number, number]
        library.opus_encode.argtypes = [pointer, text, number, pointer, number]
        library.opus_encoder_ctl.argtypes = [pointer, number]  # variadic: the value follows
        library.opus_decoder_destroy.argtypes = library.opus_encoder_destroy.argtypes = [pointer]
        return library
    raise OSError("libopus is missing. Reinstall PyAV from its wheel (pip install av), or: apt-get install libopus0")


_library = _load(ctypes.PyDLL, _candidates())
"""Keeps the interpreter lock: a frame takes some 50 µs, while who gives the lock away may wait 5 ms to have it back."""

_library_for_clips = _load(ctypes.CDLL, _candidates())
"""Gives the lock away: a clip is encoded in a thread of its own, beside calls that go on."""


def packet_samples(payload: bytes) -> int:
    """Return how long a packet plays, in samples at 48 kHz; 0 if it is no Opus packet (RFC 6716 section 3.1)."""
    if not payload:
        return 0
    count = (1, 2, 2, payload[1] & 0x3F if len(payload) > 1 else 0)[payload[0] & 3]
    samples = count * _FRAME_TENTHS[payload[0] >> 3] * 48 // 10
    return samples if samples <= MAX_PACKET_MS * 48 else 0


def holds_one_frame_of_20_ms(packet: bytes) -> bool:
    """Return whether a packet is one frame of 20 ms (RFC 6716 section 3.1)."""
    return bool(packet) and packet[0] & 3 == 0 and _FRAME_TENTHS[packet[0] >> 3] == 200


def carries_previous(payload: bytes) -> bool:
    """Return whether a packet of one frame also holds the frame before it (in-band FEC, RFC 6716 section 4.2.3)."""
    if len(payload) < 2 or payload[0] & 3 or payload[0] >> 3 >= 16:  # several frames, or CELT, which has no FEC
        return False
    silk_frames = max(1, _FRAME_TENTHS[payload[0] >> 3] // 200)
    return bool(payload[1] >> (7 - silk_frames) & 1)  # the flag follows one voice-activity bit per SILK frame


_pcm = ctypes.create_string_buffer(CLIP_RATE * MAX_PACKET_MS // 1000 * 2)
"""What was decoded last: the lock is held until it is copied out, so that one serves all decoders."""


class OpusDecoder:
    """Turns the packets of one stream into mono s16 PCM at 8, 12, 16, 24 or 48 kHz."""

    def __init__(self, rate: int = 48_000) -> None:
        error = ctypes.c_int()
        self.rate = rate
        self._frame_samples = rate * FRAME_MS // 1000
        self._max_samples = rate * MAX_PACKET_MS // 1000
        self._state = _library.opus_decoder_create(rate, 1, ctypes.byref(error))
        if not self._state:
            raise OpusError(f"make a decoder of {rate} Hz", error.value)

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            _library.opus_decoder_destroy(self._state)

    def decode(self, payload: bytes) -> bytes:
        """Return the PCM of the next packet.

        Raises:
            OpusError: the packet is damaged; conceal it.
        """
        return self._run(payload, self._max_samples, 0)

    def conceal(self, samples: int | None = None) -> bytes:
        """Return PCM that bridges a missing frame (20 ms, or `samples` at this rate, a multiple of 2.5 ms)."""
        return self._run(None, samples or self._frame_samples, 0)

    def recover(self, payload: bytes, samples: int | None = None) -> bytes:
        """Return the frame before `payload` from its in-band FEC, or concealment if it holds none."""
        return self._run(payload, samples or self._frame_samples, 1)

    def _run(self, payload: bytes | None, samples: int, fec: int) -> bytes:
        made: int = _library.opus_decode(self._state, payload, len(payload or b""), _pcm, samples, fec)
        if made < 0:
            raise OpusError("decode a packet", made)
        return ctypes.string_at(_pcm, made * 2)


class OpusEncoder:
    """Turns 20 ms frames of mono s16 PCM into packets, tuned for speech over a lossy path.

    Args:
        rate: of the PCM, Hz.
        bitrate: bits per second, in-band FEC included.
        complexity: 0 to 10; what a frame costs grows threefold from 0 to 5.
        fec: let packets carry the one before, coarsely, once loss is expected.
        dtx: say nothing for long pauses but a packet every 400 ms; where one may stay it has no more than DTX_BYTES.
        playback_rate: what the far side plays, Hz; sound beyond it is not encoded.
    """

    def __init__(
        self,
        rate: int = 48_000,
        *,
        bitrate: int = 24_000,
        complexity: int = 5,
        fec: bool = True,
        expected_loss_percent: float = LEAST_LOSS_PERCENT,
        dtx: bool = False,
        playback_rate: int = 48_000,
        library: ctypes.CDLL = _library,
    ) -> None:
        error = ctypes.c_int()
        self._library = library
        self.rate = rate
        self._frame_samples = rate * FRAME_MS // 1000
        self._packet = ctypes.create_string_buffer(MAX_PACKET_BYTES)
        self._state = library.opus_encoder_create(rate, 1, _VOIP, ctypes.byref(error))
        if not self._state:
            raise OpusError(f"make an encoder of {rate} Hz", error.value)
        self._set(_SET_BITRATE, bitrate)
        self._set(_SET_INBAND_FEC, int(fec))
        self._set(_SET_DTX, int(dtx))
        self._set(_SET_MAX_BANDWIDTH, _NARROWBAND + sum(playback_rate > enough for enough in _PLAYED_AT))
        self.spend(complexity)
        self.expect_loss(expected_loss_percent)

    def expect_loss(self, percent: float) -> None:
        """Prepare the packets to come for the loss that the peer reports; there is FEC even where it reports none."""
        self._set(_SET_PACKET_LOSS_PERC, round(min(MOST_LOSS_PERCENT, max(LEAST_LOSS_PERCENT, percent))))

    def spend(self, complexity: int) -> None:
        """Take so much trouble, 0 to 10."""
        self._set(_SET_COMPLEXITY, complexity)

    def _set(self, request: int, value: int) -> None:
        code: int = self._library.opus_encoder_ctl(self._state, request, ctypes.c_int(value))
        if code:
            raise OpusError(f"set option {request} to {value}", code)

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.opus_encoder_destroy(self._state)

    def encode(self, pcm: bytes) -> bytes:
        """Return the packet of one 20 ms frame.

        Raises:
            ValueError: `pcm` is not exactly 20 ms.
        """
        if len(pcm) != self._frame_samples * 2:
            raise ValueError(f"a frame at {self.rate} Hz has {self._frame_samples * 2} bytes, not {len(pcm)}")
        made: int = self._library.opus_encode(self._state, pcm, self._frame_samples, self._packet, MAX_PACKET_BYTES)
        if made < 0:
            raise OpusError("encode a frame", made)
        return ctypes.string_at(self._packet, made)


def clip_encoder() -> OpusEncoder:
    """Return an encoder for threads of their own, beside calls that go on."""
    return OpusEncoder(CLIP_RATE, bitrate=32_000, library=_library_for_clips)


def encode_clip(pcm48k: bytes) -> tuple[bytes, ...]:
    """Return a whole clip (mono s16, 48 kHz) as 20 ms packets, the last one filled up with silence.

    A prompt is encoded once and its packets are sent to any number of calls.
    """
    encoder = clip_encoder()
    size = CLIP_RATE * FRAME_MS // 1000 * 2
    return tuple(encoder.encode(pcm48k[at : at + size].ljust(size, b"\0")) for at in range(0, len(pcm48k), size))
