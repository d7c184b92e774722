"""Whether a file can be played; for handlers that are told which in settings or options. See `shared.playable`."""

from shared.playable import check_sound

__all__ = ["check_sound"]
