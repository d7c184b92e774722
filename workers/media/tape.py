"""The recording of one call, if one runs: what feeds it, and until when. Media loop only."""

import time
from collections.abc import Callable
from pathlib import Path

from shared.handling import Frame
from workers.media.leg import Leg
from workers.media.recorder import OggRecorder, WavRecorder
from workers.media.stereo import OggStereoRecorder, StereoRecorder, WavStereoRecorder

AnyRecorder = OggRecorder | WavRecorder | StereoRecorder


def recorder(path: Path, rate: int, *, stereo: bool = False) -> AnyRecorder:
    """Return what writes such a file; `rate` is that of decoded sound, Hz.

    Raises:
        ValueError: there is no such kind of recording.
    """
    match path.suffix.lower():
        case ".opus" | ".ogg":
            return OggStereoRecorder(path) if stereo else OggRecorder(path)
        case ".wav":
            return WavStereoRecorder(path) if stereo else WavRecorder(path, rate)
    raise ValueError(f"{path.name}: a recording ends in .opus or .ogg (packets as they come) or in .wav (decoded)")


class Tape:
    """Records one leg, with one recorder at a time."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._recorder: AnyRecorder | None = None
        self._decoded_to: WavRecorder | None = None
        self._finished: Callable[[Path], None] = lambda _: None

    @property
    def runs(self) -> bool:
        """Whether a recording runs."""
        return self._recorder is not None

    @property
    def decodes(self) -> bool:
        """Whether it wants what is heard, decoded."""
        return self._decoded_to is not None

    def take(self, frame: Frame) -> None:
        """Take 20 ms of what is heard, where it is wanted so."""
        if self._decoded_to is not None:
            self._decoded_to.take(frame, time.monotonic())

    async def record(self, recorder: AnyRecorder, finished: Callable[[Path], None] = lambda _: None) -> None:
        """Write what is heard from now on, and in stereo what is said; undecoded where the recorder takes it so.

        `finished` is called with the file's path once it is complete.

        Raises:
            OSError: the file cannot be made.
        """
        self._recorder, self._finished = recorder, finished
        match recorder:
            case WavRecorder():
                self._decoded_to = recorder
            case OggRecorder():
                self._leg.on_sound = recorder.hear
            case StereoRecorder():
                self._leg.on_sound, self._leg.on_said = recorder.hear, recorder.say
        try:
            await recorder.open()
        except BaseException:
            self._release()
            raise

    async def stop(self) -> None:
        """Finish the recording, if there is one."""
        recorder = self._release()
        if recorder is not None:
            await recorder.close()
            self._finished(recorder.path)

    def _release(self) -> AnyRecorder | None:
        recorder, self._recorder, self._decoded_to = self._recorder, None, None
        self._leg.on_sound = self._leg.on_said = None
        return recorder
