"""What a playout played, made up and left out: counted in samples at 48 kHz, told in milliseconds."""

PER_MS = 48
_FADED = 200 * PER_MS  # made-up sound has faded to silence after some ten frames


class Account:
    """The figures of one playout; docs/quality.md tells what they mean."""

    def __init__(self) -> None:
        self._played = self._concealed = self._recovered = self._silent = self._trimmed = 0
        self._silently = 0
        self._made_up = 0  # since the last packet
        self._hushed = False  # the last packet said that the sender is silent
        self._late = 0
        self._waited_s, self._decoded = 0.0, 0

    def _conceal(self, samples: int) -> None:
        """Count made-up sound, and how much of it was silence: what follows a packet of silence, or has faded out.

        That is a heuristic: nobody looks at the samples.
        """
        audible = 0 if self._hushed else max(0, min(samples, _FADED - self._made_up))
        self._concealed += samples
        self._silently += samples - audible
        self._made_up += samples

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
        """The part of `concealed_ms` that was silence, by a heuristic (see `_conceal`)."""
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
