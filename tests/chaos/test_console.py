"""A media worker is killed under load while somebody watches the console: it is visible, explained, and harmless."""

import asyncio
import os
from pathlib import Path
from typing import Final

from playwright.async_api import expect

from tests.acceptance.standin import Consumer, Meta
from tests.browser import PATIENCE_MS, chromium
from tests.chaos.conftest import STAFF
from tests.chaos.exchange import CONVERSE, Exchange

expect.set_options(timeout=PATIENCE_MS)

CALLS: Final = 6
KEY: Final = "looker"


def test_a_killed_worker_is_seen_explained_and_harmless_to_the_others(idle_exchange: Exchange, meta: Meta) -> None:
    exchange = idle_exchange
    exchange.open(*STAFF, PAGELINE_API_KEYS=f"read:{KEY}")
    consumers = [meta.consumer(CONVERSE).ring() for _ in range(CALLS)]
    for consumer in consumers:
        consumer.await_sound(0.5)
    dying = exchange.holder(consumers[0])
    theirs = [consumer for consumer in consumers if exchange.holder(consumer) == dying]
    assert 1 < len(theirs) < CALLS
    asyncio.run(watch(exchange, dying, theirs))
    for consumer in consumers:
        if consumer not in theirs:
            consumer.hang_up()
            assert exchange.outcome_of(consumer) == "completed"
    assert all(len(consumer.actions("terminate")) == 1 for consumer in theirs)


async def watch(exchange: Exchange, dying: str, theirs: list[Consumer]) -> None:
    """See in the console what becomes of a worker that is killed, and of its calls."""
    async with chromium() as browser:
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(f"{exchange.base}/console")
        await page.get_by_label("API key").fill(KEY)
        await page.keyboard.press("Enter")
        workers, now, gone = page.locator("#workers li"), page.locator("#now tr"), page.locator("#deaths")
        await expect(workers).to_have_count(2)
        await expect(gone).to_be_hidden()
        await expect(now).to_have_count(CALLS)
        exchange.kill(dying)
        await expect(workers).to_have_count(1)
        await expect(gone.locator("li")).to_have_count(1)
        await expect(gone).to_contain_text(f"with {len(theirs)} calls")
        await expect(gone).to_contain_text("Nothing is to be done, unless it happens again")
        await expect(now).to_have_count(CALLS - len(theirs))
        if folder := os.environ.get("PAGELINE_SCREENSHOTS"):
            await page.screenshot(path=Path(folder) / "killed.png", full_page=True)
        await page.goto(f"{exchange.base}/console/calls/{theirs[0].call_id}")
        await expect(page.locator("#call-why")).to_contain_text("The media worker that held the call died with it")
        await page.context.close()
