"""What the simulator is told at its start."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

AnswerShape = Literal["strings", "objects", "answer-only"]
ANSWER_SHAPES: tuple[AnswerShape, ...] = ("strings", "objects", "answer-only")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Holds every setting; the defaults are what Meta's documentation says of Meta."""

    webhook_url: str
    app_secret: str = field(repr=False)
    page: str = "106378625516323"
    psid: str = "5275811702471834"
    tokens: frozenset[str] = field(default=frozenset(), repr=False)
    """Page access tokens that are taken; none given: any that is not empty."""
    host: str = "127.0.0.1"
    port: int = 0
    media_addresses: tuple[str, ...] = ("127.0.0.1",)
    answer_shape: AnswerShape = "strings"
    errors_in: Literal["code", "error_subcode"] = "code"
    """Where calling errors (2018389 and up) are put: no page of Meta's says, so a client must read both."""
    answer_window_s: float = 60.0
    media_timeout_s: float = 20.0
    """A call without a packet from the business for so long is ended as Failed."""
    webhook_timeout_s: float = 5.0
    webhook_retry_pauses_s: tuple[float, ...] = (0.0, 1.0, 3.0, 10.0)
    browser_answer_timeout_s: float = 10.0
    recording_limit_s: float = 600.0


def parse(argv: Sequence[str] | None = None) -> Settings:
    """Reads a command line; exits with status 2 and a sentence on bad usage."""
    parser = argparse.ArgumentParser(prog="simulator", description="Stands in for Meta: Graph, webhooks and a caller.")
    parser.add_argument(
        "--webhook-url", required=True, help="where webhooks are posted, e.g. http://127.0.0.1:8000/webhook"
    )
    parser.add_argument("--app-secret", required=True, help="signs the webhooks; the same as META_APP_SECRET there")
    parser.add_argument("--page", default=Settings.page, help="the Page that is called (default %(default)s)")
    parser.add_argument("--psid", default=Settings.psid, help="the person who calls (default %(default)s)")
    parser.add_argument("--token", action="append", default=[], help="a Page token to accept; default: any")
    parser.add_argument("--host", default=Settings.host)
    parser.add_argument("--port", type=int, default=9900, help="0 takes any free port (default %(default)s)")
    parser.add_argument("--media-address", action="append", default=[], help="a local address for audio, repeatable")
    parser.add_argument("--answer-shape", choices=ANSWER_SHAPES, default=Settings.answer_shape)
    parser.add_argument("--errors-in", choices=("code", "error_subcode"), default=Settings.errors_in)
    parser.add_argument("--answer-window-s", type=float, default=Settings.answer_window_s)
    given = parser.parse_args(argv)
    return Settings(
        webhook_url=given.webhook_url,
        app_secret=given.app_secret,
        page=given.page,
        psid=given.psid,
        tokens=frozenset(given.token),
        host=given.host,
        port=given.port,
        media_addresses=tuple(given.media_address) or ("127.0.0.1",),
        answer_shape=given.answer_shape,
        errors_in=given.errors_in,
        answer_window_s=given.answer_window_s,
    )
