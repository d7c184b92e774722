"""Control of what a handler has sent and the consumer has not heard yet; and a bot that takes the handler's part."""

from asyncio import Future
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

if TYPE_CHECKING:
    from shared.handling import Call

FRAME_S: Final = 0.02
Speech = Literal["twilio", "pcm16k", "pcm24k", "openai"]
"""How a bot is spoken to, see `Streaming.stream`."""


class StreamFailed(Exception):
    """A bot could not be reached, went away without a goodbye, or said what it may not; the text says which."""


class StreamHolder(Protocol):
    """What these verbs of a `Call` need of the worker that holds it; called on the handler's event loop."""

    @property
    def queued_frames(self) -> int: ...
    def clear(self) -> int: ...
    def mark(self) -> "Future[bool]": ...


class Streaming:
    """The verbs of a `Call` about what was sent and is not played yet."""

    holder: StreamHolder

    @property
    def queued_s(self) -> float:
        """How many seconds of what `send` was given have not left yet."""
        return self.holder.queued_frames * FRAME_S

    def clear(self) -> float:
        """Drop what `send` was given and has not left, and return how many seconds that is.

        The consumer hears nothing of it from the next 20 ms on.
        """
        return self.holder.clear() * FRAME_S

    def mark(self) -> "Future[bool]":
        """Mark what `send` was given so far: the future tells when it was played.

        Its result is True once all of it has left and its last 20 ms are over; False where some of it was dropped, by
        `clear` or because the call ended.
        """
        return self.holder.mark()

    async def stream(
        self,
        url: str,
        *,
        protocol: Speech = "twilio",
        parameters: Mapping[str, str] | None = None,
        secret: str = "",
        account: str = "",
        connect_timeout_s: float = 5.0,
    ) -> None:
        """Let a bot talk with the consumer over a WebSocket, until it closes that, or the call ends.

        Args:
            url: where the bot listens, `wss://` or `ws://`.
            protocol: `twilio` is Twilio Media Streams, in both directions; `pcm16k` and `pcm24k` are raw 16-bit mono at
                16 or 24 kHz; `openai` is OpenAI's Realtime API.
            parameters: passed on to the bot: Twilio's `customParameters`, the start message of raw sound, or the
                `session` of OpenAI's (`instructions`, `voice`, `format`, `shape`; the model is in the URL).
            secret: Twilio's auth token, which signs the handshake; a bearer token for the others.
            account: Twilio's account SID.
            connect_timeout_s: how long the bot may take to answer the handshake.

        Raises:
            StreamFailed: it could not be reached, or the connection broke; the call goes on.
            ValueError: the URL or a parameter cannot be used.
        """
        from shared.streams import run

        await run(
            cast("Call", self),
            url,
            protocol=protocol,
            parameters=parameters or {},
            secret=secret,
            account=account,
            connect_timeout_s=connect_timeout_s,
        )
