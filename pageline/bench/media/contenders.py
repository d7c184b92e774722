"""Who is measured, and what each can be told to do with the packets of a call."""

from typing import Final, NamedTuple

OURS, STOCK, PION = "pageline", "stock", "pion"
STACKS: Final = (OURS, STOCK, PION)


class Mode(NamedTuple):
    """What is done with the packets of a call."""

    handler: str
    speak: bool = True
    """Whether the consumers speak; who only listens sends what DTX leaves of silence."""
    bot: bool = False
    """Whether the handler talks with a bot that returns what it hears."""


MODES: Final = {
    "answer": Mode("workers.handlers.echo:answer"),
    "forward": Mode("workers.handlers.echo:forward"),
    "bridge": Mode("pageline.bench.media.handlers:bridged"),
    "listen": Mode("pageline.bench.media.handlers:listen", speak=False),
    "bot": Mode("pageline.bench.media.handlers:bot", bot=True),
    "pcm_bot": Mode("pageline.bench.media.handlers:pcm_bot", bot=True),
}
