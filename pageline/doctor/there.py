"""Checks of how the Pages and the app stand at Meta, and the repairs that can be made from here.

A path that Graph does not know (404, as of a stand-in) is not checked, and nothing is wrong with it.
"""

import datetime as dt
from dataclasses import replace
from typing import Final

from pageline.at_meta import graph_of
from pageline.call_settings import change_at, wanted_of
from pageline.command import clock
from pageline.doctor.finding import Finding, Status, failed, ok, unchecked
from pageline.doctor.here import clock_agrees
from shared.clock import unix_ms
from shared.meta.call_settings import PARTNERS, CallSettings, Change, Name, difference, in_words
from shared.meta.page import CALLS, FIELDS, PERMISSIONS, TokenFacts
from shared.meta.remedy import HOW_TO_RENEW
from shared.settings import Settings
from workers.action.page_at_meta import PageAtMeta, Untold, callback_of

RENEW_BEFORE: Final = dt.timedelta(days=7)

FEATURE: Final = "calling is enabled"
SUBSCRIBED: Final = "`calls` is subscribed"
ROUTED: Final = "calls ring here"
SWITCHES: Final = (FEATURE, SUBSCRIBED, ROUTED)
"""Without any one of them no call ever arrives."""

_NAME_THE_APP: Final = "Set META_APP_ID (App Dashboard, App settings > Basic > App ID), and it is looked into."
_ASK_META: Final = "Look the code up among Meta's error codes; its support wants the fbtrace_id."
_FIX: Final = "`pageline doctor --fix` does it."


class PageCheck:
    """The checks of one Page; with `fix`, repairs what it can on the way.

    Args:
        tells_time: compare Graph's clock with ours, which is done once and not for every Page.
    """

    def __init__(self, at_meta: PageAtMeta, settings: Settings, *, fix: bool, tells_time: bool = True) -> None:
        self._at_meta = at_meta
        self._settings = settings
        self._wanted = wanted_of(settings, at_meta.page)
        self._fix = fix
        self._tells_time = tells_time

    async def run(self) -> list[Finding]:
        """Return what was found, in the order in which a newcomer meets it."""
        found = await self._token()
        if any(finding.failed for finding in found):
            found += [unchecked(name, "the access token comes first") for name in SWITCHES]
        else:
            found += [await self._feature(), *await self._subscription(), *await self._call_settings()]
        page = self._at_meta.page
        return [replace(finding, page=page, switch=finding.check in SWITCHES) for finding in found]

    # -- the token

    async def _token(self) -> list[Finding]:
        """See whether Graph takes the token, and by the way what time it is there."""
        asked_ms = unix_ms()
        try:
            attempt = await self._at_meta.greet()
            found = [ok("access token", "Graph takes it")]
        except Untold as error:
            attempt = error.attempt
            found = [_untold("access token", error)]
        if self._tells_time and attempt.date_s is not None:  # whole seconds, of some moment between asking and hearing
            middle_s = (asked_ms + unix_ms()) / 2000
            found.append(clock_agrees("clock of Graph", attempt.date_s + 0.5 - middle_s, "Graph"))
        if found[0].status is not Status.OK:
            return found
        return [*found, *await self._token_facts()]

    async def _token_facts(self) -> list[Finding]:
        secret = self._settings.proving_secret.decode()
        if not (self._settings.meta_app_id and secret):
            return [unchecked("token's expiry and permissions", "only the app itself may ask", _NAME_THE_APP)]
        try:
            facts = await self._at_meta.token(secret)
        except Untold as error:
            return [_untold("token's expiry and permissions", error, "See that META_APP_ID and META_APP_SECRET match.")]
        return [_expiry(facts), _permissions(facts)]

    # -- the three switches

    async def _feature(self) -> Finding:
        try:
            status = await self._at_meta.calling()
        except Untold as error:
            return _untold(FEATURE, error)
        if status == "enabled":
            return ok(FEATURE, "messenger_api_calling is enabled for the Page")
        remedy = (
            "Meta enables it for Pages of certain countries; see that the Page's country is among them, and ask Meta."
        )
        return failed(FEATURE, f"messenger_api_calling is {status}", remedy)

    async def _subscription(self) -> list[Finding]:
        """See whether webhooks about calls are sent for this Page, and those that go with them."""
        try:
            fields = await self._at_meta.subscribed()
            missing = [field for field in FIELDS if field not in fields]
            fixed = bool(missing) and self._fix
            if fixed:
                await self._at_meta.subscribe(fields)
                fields = await self._at_meta.subscribed()
        except Untold as error:
            which = "" if error.attempt.error else "With several apps on a Page, META_APP_ID has to say which is ours."
            return [_untold(SUBSCRIBED, error, which)]
        still = [field for field in FIELDS if field not in fields]
        found = [
            _fixed_if(CALLS in missing and fixed, ok(SUBSCRIBED, "the app is sent the Page's webhooks about calls"))
            if CALLS in fields
            else failed(SUBSCRIBED, "the app is not sent the Page's webhooks about calls", _FIX)
        ]
        others = [field for field in FIELDS[1:] if field in missing]
        if others:
            named = ", ".join(others)
            lacking = failed("other webhook fields", f"{named}: not subscribed", _FIX)
            found.append(
                lacking
                if set(others) & set(still)
                else _fixed_if(fixed, ok("other webhook fields", f"{named}: subscribed"))
            )
        return found

    async def _call_settings(self) -> list[Finding]:
        try:
            actual = await self._at_meta.call_settings()
        except Untold as error:
            return [_untold(ROUTED, error)]
        found = [await self._routing(actual), await self._audio(actual)]
        rest = [each for each in difference(self._wanted, actual) if each.name not in (Name.ROUTING, Name.AUDIO)]
        if rest:
            remedy = "`pageline settings apply` makes them what PAGES_FILE wants."
            found.append(failed("call settings", "; ".join(map(str, rest)), remedy))
        return found

    async def _routing(self, actual: CallSettings) -> Finding:
        if actual.routing == PARTNERS:
            return ok(ROUTED, "ring_target is PARTNERS")
        said = f"ring_target is {actual.routing or 'not said'}, so only Meta's own inbox rings"
        if self._wanted.routing not in (None, PARTNERS):
            return ok(ROUTED, f"{said}, as PAGES_FILE wants it")
        return await self._repaired(Change(Name.ROUTING, PARTNERS, actual.routing), failed(ROUTED, said, _FIX))

    async def _audio(self, actual: CallSettings) -> Finding:
        if actual.audio:
            return ok("audio", "audio_enabled is true")
        said = f"audio_enabled is {in_words(actual.audio)}: Meta then refuses whatever is asked about calls"
        if self._wanted.audio is False:
            return ok("audio", f"{said}, as PAGES_FILE wants it")
        return await self._repaired(Change(Name.AUDIO, True, actual.audio), failed("audio", said, _FIX))

    async def _repaired(self, change: Change, otherwise: Finding) -> Finding:
        """Make a change if that was asked for."""
        if not self._fix:
            return otherwise
        trouble = await change_at(self._at_meta, change)
        if trouble:
            return replace(otherwise, said=trouble, remedy="Do what it says and try again.")
        return Finding(otherwise.check, Status.FIXED, f"{change.name} is {in_words(change.wanted)} now")


async def webhooks_come(settings: Settings) -> Finding:
    """See where Meta sends the app's webhooks; whether they arrive cannot be seen from here."""
    secret = settings.proving_secret.decode()
    remedy = (
        "In the App Dashboard, Webhooks > Page has to show your https://.../webhook with the fields "
        f"{', '.join(FIELDS)}; its button Test sends one, and `web` logs it."
    )
    if not (settings.meta_app_id and secret):
        return unchecked("webhook address", "it cannot be seen from here without META_APP_ID", remedy)
    try:
        async with graph_of(settings) as graph:
            callback = await callback_of(graph, settings.meta_app_id, secret)
    except Untold as error:
        return _untold("webhook address", error, remedy)
    if callback is None or not callback.active:
        return failed("webhook address", "the app has no webhooks about Pages", remedy)
    missing = [field for field in FIELDS if field not in callback.fields]
    if missing:
        return failed("webhook address", f"{callback.url} is not sent {', '.join(missing)}", remedy)
    return ok(
        "webhook address", f"Meta sends to {callback.url}; that it arrives, the App Dashboard's button Test shows"
    )


def _expiry(facts: TokenFacts) -> Finding:
    check, left_s = "token's expiry", facts.expires_s - unix_ms() / 1000
    if not facts.valid or (facts.expires_s and left_s <= 0):
        return failed(check, "the token is no longer valid", HOW_TO_RENEW)
    if not facts.expires_s:
        return ok(check, "it never expires")
    until = f"it expires at {clock(facts.expires_s * 1000)}"
    return failed(check, until, HOW_TO_RENEW) if left_s < RENEW_BEFORE.total_seconds() else ok(check, until)


def _permissions(facts: TokenFacts) -> Finding:
    check = "permissions"
    if facts.scopes is None:
        return unchecked(check, "Graph does not tell which the token has")
    missing = [permission for permission in PERMISSIONS if permission not in facts.scopes]
    if missing:
        remedy = "Ask for them in App Review, and make a new token that has them."
        return failed(check, f"the token lacks {', '.join(missing)}", remedy)
    return ok(check, f"the token has {', '.join(PERMISSIONS)}")


def _fixed_if(fixed: bool, finding: Finding) -> Finding:
    return replace(finding, status=Status.FIXED) if fixed else finding


def _untold(check: str, error: Untold, remedy: str = "") -> Finding:
    if error.nowhere:
        return unchecked(check, "Graph does not know the path (404)")
    return failed(check, error.said, error.remedy or remedy or _ASK_META)
