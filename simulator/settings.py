"""What the simulator is told at its start."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from simulator.chaos import Rates

AnswerShape = Literal["strings", "objects", "answer-only"]
ANSWER_SHAPES: tuple[AnswerShape, ...] = ("strings", "objects", "answer-only")
PermissionShape = Literal["can_perform", "can_perform_action", "data"]
ReplyPlace = Literal["entry", "messaging"]
OptinReply = Literal["approve", "reject", "ignore"]
Pickup = Literal["answer", "decline", "ignore", "unreachable"]


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
    permission_shape: PermissionShape = "can_perform"
    """Flat with either name of the flags, or wrapped in `data` with the status in capitals (section 5.1)."""
    permission_reply_in: ReplyPlace = "entry"
    """Where `call_permission_reply` sits: on the entry or in its `messaging` (section 3.5)."""
    implied_permission: bool = True
    """Whether a call grants permission by itself (section 5.2)."""
    no_permission_code: int = 100
    call_limit_code: int = 613
    """Neither code is documented: what `connect` says without permission, and over the quota."""
    calls_per_day: int | None = None
    """How often a Page may call a person in 24 hours; the documentation gives no figure."""
    connect_shape: Literal["object", "string"] = "object"
    """How `connect` and `media_update` wrap descriptions."""
    connect_renegotiation: bool = False
    connect_id_field: Literal["id", "call_id"] = "id"
    connect_webhook: bool = True
    """Whether a call of the business's has a `connect` webhook, which only one of two pages shows (section 5.4)."""
    digit_rates: tuple[int, ...] = (48_000,)
    """Clock rates of telephone events that Meta keeps of those offered; its samples have this one (section 2)."""
    digits_in_answer: bool = False
    """Whether they are in answers, too: the sample of an answer has none, that of a later offer has."""
    first_version: Literal[0, 1] = 0
    """The media version after `accept` or `connect`: whether that offer counts is said both ways (section 6.3)."""
    update_renegotiation: bool = False
    renegotiation_counts: bool = True
    """Whether `media_update` is answered with an offer, too, and whether that one counts (section 6.3)."""
    conflict: Literal["empty", "error"] = "empty"
    """What `media_update` from another version than Meta's gets: 200 with an empty `session`, or an error."""
    overtake: bool = False
    """Whether the first webhooks of a call of the business's come before the response that names the call."""
    ring_after_s: float = 0.1
    """From the business's `connect` to the ring at the consumer's device."""
    ring_timeout_s: float = 60.0
    """How long a call of the business's rings; the documentation gives no figure."""
    message_shape: Literal["documented", "flat"] = "documented"
    """What `messages` answers: as printed for each kind of message, or `recipient_id` and `message_id` always."""
    feature_status: str = "enabled"
    """What `business_messaging_feature_status` says; anything but `enabled`, in any case, switches calling off."""
    ring_target: Literal["META", "PARTNERS"] = "PARTNERS"
    audio_enabled: bool = True
    subscribed: bool = True
    """The Page's state at the start: where calls ring, whether there are any, and whether the app has its fields."""
    settings_shape: Literal["guide", "reference"] = "guide"
    """What `messenger_call_settings` answers: the two pages about it do not agree (section 7.1)."""
    success_as_string: bool = False
    """Whether `subscribed_apps` says `"true"`, as printed, or `true` (section 1.7)."""
    metrics_spelling: Literal["seconds", "milliseconds", "either"] = "either"
    """Which keys `audio_stats` must have: those of the sample or those of the table (section 8)."""
    metrics_window_s: float = 86_400.0
    usage_percent: int | None = None
    """How much of the rate limits responses say is used; None: they say nothing."""
    require_proof: bool = False
    """Whether every request must have an `appsecret_proof`; a wrong one is always refused."""
    optin_reply: OptinReply = "approve"
    pickup: Pickup = "answer"
    """How people behave who are not told otherwise by `/sim/consumers`."""
    browser_answer_timeout_s: float = 10.0
    recording_limit_s: float = 600.0
    chaos: Rates | None = None
    seed: int = 0
    """What goes wrong by chance, and the seed of that chance."""


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """Holds what was asked for on the command line."""

    settings: Settings
    scenarios: tuple[Path, ...]
    as_json: bool


def parse(argv: Sequence[str] | None = None) -> CommandLine:
    """Reads a command line; exits with status 2 and a sentence on bad usage."""
    parser = argparse.ArgumentParser(prog="simulator", description="Stands in for Meta: Graph, webhooks and a caller.")
    add = parser.add_argument
    add("--webhook-url", required=True, help="where webhooks are posted, e.g. http://127.0.0.1:8000/webhook")
    add("--app-secret", required=True, help="signs the webhooks; the same as META_APP_SECRET there")
    add("--page", default=Settings.page, help="the Page that is called (default %(default)s)")
    add("--psid", default=Settings.psid, help="the person who calls (default %(default)s)")
    add("--token", dest="tokens", action="append", default=[], help="a Page token to accept; default: any")
    add("--host", default=Settings.host)
    add("--port", type=int, default=9900, help="0 takes any free port (default %(default)s)")
    add("--media-address", dest="media_addresses", action="append", help="a local address for audio, repeatable")
    add("--answer-shape", choices=ANSWER_SHAPES, default=Settings.answer_shape)
    add("--errors-in", choices=("code", "error_subcode"), default=Settings.errors_in)
    add("--answer-window-s", type=float, default=Settings.answer_window_s)
    calls = parser.add_argument_group("calls of the business's")
    add = calls.add_argument
    add("--permission-shape", choices=get_args(PermissionShape), default=Settings.permission_shape)
    add("--permission-reply-in", choices=get_args(ReplyPlace), default=Settings.permission_reply_in)
    add("--no-permission-code", type=int, default=Settings.no_permission_code)
    add("--calls-per-day", type=int, help="how often a Page may call a person (default: as often as it likes)")
    add("--connect-shape", choices=("object", "string"), default=Settings.connect_shape)
    add("--connect-id-field", choices=("id", "call_id"), default=Settings.connect_id_field)
    add("--connect-renegotiation", action="store_true", help="answer connect with an offer, too")
    add("--no-connect-webhook", dest="connect_webhook", action="store_false", help="send no connect webhook for them")
    add("--overtake", action="store_true", help="send the first webhooks before the response to connect")
    add("--ring-timeout-s", type=float, default=Settings.ring_timeout_s)
    add("--message-shape", choices=("documented", "flat"), default=Settings.message_shape)
    add("--optin-reply", choices=get_args(OptinReply), default=Settings.optin_reply, help="what people answer")
    add("--pickup", choices=get_args(Pickup), default=Settings.pickup, help="what people do when called")
    media = parser.add_argument_group("media that changes")
    add = media.add_argument
    add("--digit-rate", dest="digit_rates", type=int, choices=(8_000, 48_000), action="append", help="repeatable")
    add("--digits-in-answer", action="store_true", help="keep telephone events in answers, too")
    add("--first-version", type=int, choices=(0, 1), default=Settings.first_version, help="after accept or connect")
    add("--update-renegotiation", action="store_true", help="answer media_update with an offer, too")
    add("--conflict", choices=("empty", "error"), default=Settings.conflict, help="what colliding versions get")
    page = parser.add_argument_group("the Page")
    add = page.add_argument
    add("--feature-status", default=Settings.feature_status, help="of messenger_api_calling (default %(default)s)")
    add("--ring-target", choices=("META", "PARTNERS"), default=Settings.ring_target, help="at the start")
    add("--audio-disabled", dest="audio_enabled", action="store_false", help="at the start")
    add("--unsubscribed", dest="subscribed", action="store_false", help="at the start")
    add("--settings-shape", choices=("guide", "reference"), default=Settings.settings_shape)
    add("--success-as-string", action="store_true", help='subscribed_apps says "true" instead of true')
    add("--metrics-spelling", choices=("seconds", "milliseconds", "either"), default=Settings.metrics_spelling)
    add("--usage-percent", type=int, help="what responses say is used of the rate limits (default: nothing)")
    add("--require-proof", action="store_true", help="refuse requests without appsecret_proof")
    weather = parser.add_argument_group("chaos and scenarios")
    add = weather.add_argument
    add("--chaos", nargs="?", const=Rates(), type=_rates, metavar="RATES", help="e.g. duplicates=0.2,transient=0.1")
    add("--seed", type=int, default=Settings.seed, help="of the chaos (default %(default)s)")
    add("--scenario", dest="scenarios", action="append", type=Path, default=[], help="a file to play, repeatable")
    add("--json", dest="as_json", action="store_true", help="print the scenarios' report as JSON")
    given = vars(parser.parse_args(argv))
    given["tokens"] = frozenset(given["tokens"])
    given["media_addresses"] = tuple(given["media_addresses"] or Settings.media_addresses)
    given["digit_rates"] = tuple(given["digit_rates"] or Settings.digit_rates)
    scenarios, as_json = tuple(given.pop("scenarios")), given.pop("as_json")
    return CommandLine(settings=Settings(**given), scenarios=scenarios, as_json=as_json)


def _rates(text: str) -> Rates:
    try:
        return Rates.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
