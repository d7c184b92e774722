"""Texts spoken by `TTS_COMMAND`, a program of the machine's: each once, and kept for every call that says it."""

import asyncio
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from shared.speaking import SpeechFailed
from workers.media import sounds

WITHIN_S: Final = 10.0
AT_ONCE: Final = 2
"""Programs that run; other texts wait, so that nobody's media has to share the machine with many."""
TEXTS_KEPT: Final = 256

Packets = tuple[bytes, ...]


class Voice:
    """Speaks; used on the handlers' loop, and set up before."""

    def __init__(self, *, within_s: float = WITHIN_S) -> None:
        self._command: tuple[str, ...] = ()
        self._within_s = within_s
        self._threads = ThreadPoolExecutor(AT_ONCE, "voice")
        self._spoken: dict[str, asyncio.Task[Packets]] = {}
        """What was said last comes last."""

    def use(self, command: tuple[str, ...]) -> None:
        """Set the program and its arguments: it reads UTF-8 text and writes a sound file, WAV for instance."""
        self._command = command

    async def say(self, text: str) -> Packets:
        """Return a text as 20 ms Opus packets; who wants one that is being spoken waits for it.

        Raises:
            SpeechFailed: there is no program, or it failed.
        """
        speaking = self._spoken.pop(text, None) or self._begin(text)
        self._spoken[text] = speaking
        while len(self._spoken) > TEXTS_KEPT:
            del self._spoken[next(iter(self._spoken))]
        return await asyncio.shield(speaking)

    def _begin(self, text: str) -> asyncio.Task[Packets]:
        def finish(done: asyncio.Task[Packets]) -> None:
            failed = done.cancelled() or done.exception() is not None
            if failed and self._spoken.get(text) is done:
                del self._spoken[text]

        speaking = asyncio.create_task(self._in_a_thread(text))
        speaking.add_done_callback(finish)
        return speaking

    async def _in_a_thread(self, text: str) -> Packets:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._spoken_by_program, text)

    def _spoken_by_program(self, text: str) -> Packets:
        if not text.strip():
            return ()
        if not self._command:
            raise SpeechFailed(
                "TTS_COMMAND is not set. Install a program that speaks, such as espeak-ng or flite, and write "
                "TTS_COMMAND='espeak-ng --stdin --stdout' or TTS_COMMAND='flite -o /dev/stdout'."
            )
        program = self._command[0]
        try:
            with tempfile.TemporaryFile() as out:  # no pipe: flite goes back in what it has written
                ran = subprocess.run(
                    self._command,
                    input=text.encode(),
                    stdout=out,
                    stderr=subprocess.PIPE,
                    timeout=self._within_s,
                    check=False,
                )
                out.seek(0)
                sound = out.read()
        except OSError as error:
            raise SpeechFailed(f"TTS_COMMAND: {program} cannot be run: {error.strerror}.") from error
        except subprocess.TimeoutExpired as error:
            raise SpeechFailed(
                f"TTS_COMMAND: {program} said nothing within {self._within_s:g} s. Does it read the text from its "
                "standard input? Are there shorter texts to say?"
            ) from error
        said = ran.stderr.decode(errors="replace").strip()[-300:]
        if ran.returncode:
            raise SpeechFailed(f"TTS_COMMAND: {program} failed with status {ran.returncode}: {said}")
        try:
            return sounds.encoded(sound)
        except ValueError as error:
            raise SpeechFailed(
                f"TTS_COMMAND: {program} wrote no sound to its standard output, but {len(sound)} bytes: {said}"
            ) from error


voice: Final = Voice()
"""This worker's."""
