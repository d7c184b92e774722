"""Looks after how the Pages stand at Meta: of all action workers, the one that holds the lease.

Meta takes an app's subscription away after an hour of webhooks that failed (webhooks, "Webhooks Disabled"), and then no
call ever arrives; whoever saw it subscribed before subscribes it again. The owner who never did is left alone. And
what PAGES_FILE wants of the call settings is compared with what Meta says they are.

Nothing here gates a call or feeds the breaker, and a Page whose edges Graph does not know is left alone.
"""

import asyncio
import math
import secrets
from collections.abc import Callable
from typing import Final, NoReturn

from shared import log
from shared.clock import monotonic_s, unix_ms
from shared.errors import RedisAway
from shared.meta import call_settings
from shared.meta.call_settings import CallSettings
from shared.meta.graph import GraphError
from shared.meta.page import CALLS
from shared.page_notes import PageNotes
from shared.wire import ReplyError
from workers.action.desk import Desk
from workers.action.experience import note_usage
from workers.action.page_at_meta import PageAtMeta, Untold
from workers.action.verdict import Attempt

ROUND_EVERY_S: Final = 2.0
"""How soon the lease of a worker that died is taken, and a webhook about settings is compared."""

LEASE_MS: Final = 30_000
"""Longer than a round in which Graph answers nothing."""

PAGES_PER_ROUND: Final = 10
SHOWN_FOR_S: Final = 3600.0
"""A subscription that was lost and is back stays in sight for so long: the webhooks in between are gone."""

SUBSCRIPTION: Final = "subscription"
SETTINGS: Final = "settings"

_log = log.get()


class Watch:
    """The watch of one action worker.

    Args:
        wanted: tells what PAGES_FILE wants of a Page's call settings.
        every_s: how often each Page is looked at.
    """

    def __init__(self, desk: Desk, wanted: Callable[[str], CallSettings], *, every_s: float, app_id: str = "") -> None:
        self._desk = desk
        self._wanted = wanted
        self._notes = PageNotes(desk.bus.wire)
        self._name = secrets.token_hex(8)
        self._every_s = every_s
        self._app_id = app_id
        self._shown_s = 3 * (every_s + ROUND_EVERY_S)  # and longer, if it is found again
        self._looked_s: dict[str, float] = {}
        self._nowhere: set[tuple[str, str]] = set()
        self._compared: dict[str, object] = {}
        self._untold: dict[tuple[str, str], object] = {}

    async def keep(self) -> NoReturn:
        """Make a round every two seconds."""
        while True:
            try:
                await self.round()
            except (RedisAway, ReplyError):
                pass  # the next round finds Redis there, or the one after
            except Exception:  # noqa: BLE001 - a mistake of ours costs one look, not the watch
                _log.exception("watch.broke")
            await asyncio.sleep(ROUND_EVERY_S)

    async def round(self) -> None:
        """Look at the Pages whose time it is, if it is ours to look."""
        if not await self._notes.lead(self._name, lease_ms=LEASE_MS):
            self._looked_s.clear()
            self._compared.clear()
            return
        for note in await self._notes.notes():
            if note.page not in self._desk.tokens:
                await self._notes.clear(note.page, note.about)
        pages = list(self._desk.tokens)
        longest_ago = sorted(pages, key=self._last_look_s)
        due = [page for page in longest_ago if monotonic_s() - self._last_look_s(page) >= self._every_s]
        await asyncio.gather(*map(self._look, due[:PAGES_PER_ROUND]))
        await asyncio.gather(*map(self._compare, pages))

    # -- looking at Meta

    def _last_look_s(self, page: str) -> float:
        return self._looked_s.get(page, -math.inf)

    async def _look(self, page: str) -> None:
        """Ask Graph how the Page stands, unless its limits are nearly used up: then it is asked next time."""
        self._looked_s[page] = monotonic_s()
        if await self._desk.breaker.paused_s(page):
            return

        async def heard(attempt: Attempt) -> None:
            await note_usage(self._desk, page, attempt)

        token = self._desk.tokens.get(page)
        if token is None:  # taken out of PAGES_FILE this moment
            return
        at_meta = PageAtMeta(self._desk.graph, page, token, app_id=self._app_id, heard=heard)
        for about, look in ((SUBSCRIPTION, self._look_at_subscription), (SETTINGS, self._look_at_settings)):
            if (page, about) in self._nowhere:
                continue
            try:
                await look(at_meta)
                self._untold.pop((page, about), None)
            except Untold as error:
                self._remember(page, about, error)

    async def _look_at_subscription(self, at_meta: PageAtMeta) -> None:
        page, notes = at_meta.page, self._notes
        fields = await at_meta.subscribed()
        if CALLS in fields:
            await notes.see_subscribed(page, fields)
            return
        before = await notes.seen_subscribed(page)
        if CALLS not in before:
            return
        lost = "Meta has unsubscribed the app, so no call arrives; it does so after an hour of webhooks that failed"
        if await notes.note(page, SUBSCRIPTION, f"{lost}. It is being subscribed again.", for_s=self._shown_s):
            _log.error("subscription.lost", page=page, had=sorted(before), has=sorted(fields))
        await at_meta.subscribe(before | fields)
        said = f"{lost}. It was subscribed again; look at why webhooks failed, and whether they do still."
        await notes.note(page, SUBSCRIPTION, said, for_s=SHOWN_FOR_S)
        _log.warning("subscription.restored", page=page)

    async def _look_at_settings(self, at_meta: PageAtMeta) -> None:
        if self._wanted(at_meta.page) != CallSettings():
            asked_ms = unix_ms()
            await self._notes.report(at_meta.page, await at_meta.call_settings(), sent_ms=asked_ms)

    def _remember(self, page: str, about: str, error: Untold) -> None:
        """Leave a Page alone whose edges are not there; log another trouble once, until it changes."""
        attempt, said = error.attempt, error.attempt.error or GraphError()
        trouble = (attempt.sent, attempt.status, said.code, said.error_subcode)
        if error.nowhere:
            self._nowhere.add((page, about))
        elif self._untold.get((page, about)) != trouble:
            self._untold[page, about] = trouble
            _log.warning("watch.untold", page=page, about=about, because=str(error))

    # -- comparing with PAGES_FILE

    async def _compare(self, page: str) -> None:
        """Note what PAGES_FILE wants otherwise than Meta said last; log it once for each change."""
        wanted, actual = self._wanted(page), await self._notes.reported(page)
        if self._compared.get(page) == (wanted, actual):
            return
        changes = () if actual is None else call_settings.difference(wanted, actual)
        if not changes:
            await self._notes.clear(page, SETTINGS)
        else:
            listed = "; ".join(map(str, changes))
            said = f"its call settings are not those of PAGES_FILE: {listed}. `pageline settings apply` mends that."
            if await self._notes.note(page, SETTINGS, said):
                _log.warning("settings.drifted", page=page, changes=[change.told() for change in changes])
        self._compared[page] = (wanted, actual)
