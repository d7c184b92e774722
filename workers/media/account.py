"""What a playout played, made up and left out: counted in samples at 48 kHz, told in milliseconds."""

from workers.media.opus import carries_previous

PER_MS = 48
_FADED = 200 * PER_MS  # made-up sound has faded to silence after some ten frames
_QUIET = 328  # -40 dBFS: 1 % of full scale


class Account:
    """The figures of one playout; docs/quality.md tells what they mean."""

    def __init__(self) -> None:
        self._played = self._concealed = self._recovered = self._silent = self._trimmed = 0
        self._silently = 0
        self._made_up = 0  # since the last packet
        self._last = b""  # what was decoded last
        self._hushed = False  # the last packet said that the sender is silent
        self._late = 0
        self._waited_s, self._decoded = 0.0, 0

    def _conceal(self, samples: int) -> None:
        self._concealed += samples
        self._made_up += samples

    def _end_hole(self, following: bytes, sound: bytes) -> None:
        """Count how much of what was made up before this packet was silence: what had faded out, or was of a pause.

        It was of a pause if the sound before the hole or after it was quiet, and the packet after it brings nothing
        back: in-band FEC is sent of frames with a voice in them.
        """
        beside_silence = self._hushed or is_quiet(self._last) or is_quiet(sound)
        in_pause = beside_silence and not carries_previous(following)
        self._silently += self._made_up if in_pause else max(0, self._made_up - _FADED)
        self._made_up = 0

    @property
    def played_ms(self) -> float:
        """All that was handed out."""
        return self._played / PER_MS

    @property
    def concealed_ms(self) -> float:
        """Sound made up where a packet was due and absent; neither pauses of the sender nor FEC count."""
        return self._concealed / PER_MS

    @property
    def silent_concealed_ms(self) -> float:
        """The part of `concealed_ms` that was silence, by a heuristic (see `_end_hole`)."""
        return self._silently / PER_MS

    @property
    def recovered_ms(self) -> float:
        """Lost sound that in-band FEC brought back."""
        return self._recovered / PER_MS

    @property
    def silent_ms(self) -> float:
        """Pauses of the sender, filled with comfort noise or silence."""
        return self._silent / PER_MS

    @property
    def trimmed_ms(self) -> float:
        """Sound left out to shorten the delay."""
        return self._trimmed / PER_MS

    @property
    def late_packets(self) -> int:
        """Packets that came after their place was filled."""
        return self._late

    @property
    def decoded_packets(self) -> int:
        """Packets that were played."""
        return self._decoded

    @property
    def delay_ms(self) -> float | None:
        """Mean time a packet waited here; None before the first was played."""
        return self._waited_s * 1000 / self._decoded if self._decoded else None


def is_quiet(pcm: bytes) -> bool:
    """Return whether nothing in it (s16) is as loud as -40 dBFS."""
    samples = memoryview(pcm).cast("h")
    return max(samples, default=0) < _QUIET and min(samples, default=0) > -_QUIET
