"""Structured logs: JSON where nobody watches, colours where somebody does. Never SDP, tokens or clear PSIDs."""

import logging
import sys

import structlog

from shared import pseudonyms

Logger = structlog.typing.FilteringBoundLogger


def setup(process: str, *, format_: str = "") -> None:
    """Send every log line of this process to stderr, tagged with its name; libraries are heard from warnings up."""
    pretty = format_ == "console" or (not format_ and sys.stderr.isatty())
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, _without_nothing, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                render,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _without_nothing(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Leave out what is not known."""
    return {name: value for name, value in event.items() if value is not None}


def get() -> Logger:
    """Return a logger; name the event first: `log.info("call.summary", call=..., outcome=...)`."""
    logger: Logger = structlog.get_logger()
    return logger


pseudonym = pseudonyms.pseudonym


def veiled(text: str, psid: str) -> str:
    """Return a text of somebody else's, an error's say, with the pseudonym wherever it names this consumer."""
    return text.replace(psid, pseudonym(psid)) if psid else text
