"""What a handler does to have a call wait, and to leave it to another handler."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

from shared.recording import RECORD_CONSENT

if TYPE_CHECKING:
    from shared.handling import Sound

Handler: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]


class PassingHolder(Protocol):
    """What these verbs of a `Call` need of the worker that holds it; called on the handler's event loop."""

    def hold(self, music: "tuple[Sound, ...]") -> Awaitable[None]: ...
    def resume(self) -> Awaitable[None]: ...
    def transfer(self, to: str | Handler, options: Mapping[str, str]) -> Awaitable[NoReturn]: ...


class Passing:
    """The verbs of a `Call` that put it on hold, and pass it on."""

    holder: PassingHolder
    options: Mapping[str, str]

    async def hold(self, *music: "Sound") -> None:
        """Let the consumer hear music, over and over, until `resume`, and nobody hear the consumer meanwhile.

        A bridge or a room stays, and goes on afterwards; a recording goes on. What is played comes before the music.
        Without any there is ours.

        Raises:
            FileNotFoundError, ValueError: the music is missing or no sound.
        """
        await self.holder.hold(music)

    async def resume(self) -> None:
        """End what `hold` began; nothing where that was done."""
        await self.holder.resume()

    async def transfer(self, to: str | Handler, /, **options: str) -> NoReturn:
        """Leave the call, as it is, to another handler: a function, or `module:function` of a configured module.

        The options are its `call.options`, to which the Page's `record_consent` is added. For whoever gives the call
        away it is over: `CallEnded` is raised here, with `transferred` as its outcome, and the other begins when this
        handler has ended.

        Raises:
            CallEnded: always.
            HandlerUnusable: there is no such handler, or it does not take these options.
        """
        consent = {RECORD_CONSENT: self.options[RECORD_CONSENT]} if RECORD_CONSENT in self.options else {}
        await self.holder.transfer(to, consent | options)
