"""All checks in their order, and what they found for people and for programs."""

import asyncio
from collections import Counter
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from pageline.at_meta import of_each, pages_at_meta
from pageline.doctor import here, there
from pageline.doctor.finding import Finding, Status, failed
from shared.errors import BadSetting
from shared.settings import Settings, load

_MARKS: Final = {
    Status.OK: ("✓", "green"),
    Status.FIXED: ("✓", "cyan"),
    Status.FAILED: ("✗", "red"),
    Status.UNCHECKED: ("–", "dim"),
}


def examine(*, fix: bool, page: str = "") -> list[Finding]:
    """Run every check.

    Raises:
        BadSetting: `page` is none of ours.
    """
    try:
        settings = load()
    except BadSetting as error:
        return [failed("settings", str(error), "Mend it; docs/settings.md has them all.")]
    return asyncio.run(_examine(settings, fix=fix, page=page))


async def _examine(settings: Settings, *, fix: bool, page: str) -> list[Finding]:
    found = [*here.settings_given(settings), *here.handlers_import(settings)]
    found += await here.redis_serves(settings)
    found += await here.media_leaves(settings)
    if any(finding.failed and finding.check == here.TOKENS for finding in found):
        return found
    async with pages_at_meta(settings, page) as pages:
        first = pages[0].page
        checks = await of_each(
            pages,
            lambda at_meta: there.PageCheck(at_meta, settings, fix=fix, tells_time=at_meta.page == first).run(),
        )
        found += [finding for of_page in checks for finding in of_page]
    return [*found, await there.webhooks_come(settings)]


def told(found: list[Finding]) -> dict[str, Any]:
    """Return the report as JSON has it."""
    counts = Counter(finding.status for finding in found)
    return {
        "ok": not counts[Status.FAILED],
        "counts": {str(status): counts[status] for status in Status},
        "no_call_arrives": [
            f"{finding.page}: {finding.check}" for finding in found if finding.switch and finding.failed
        ],
        "checks": [finding.told() for finding in found],
    }


def print_report(found: list[Finding]) -> None:
    """Print one line for each finding, with the remedy below, and what it comes to."""
    console, page = Console(markup=False, highlight=False), ""
    for finding in found:
        if finding.page != page:
            page = finding.page
            console.print(Text(f"\nPage {page}" if page else "\nThe app", style="bold"))
        mark, style = _MARKS[finding.status]
        console.print(
            Text(f"  {mark} ", style=style), Text(finding.check, style="bold" if finding.switch else ""), end=""
        )
        console.print(Text(f": {finding.said}", style="" if finding.failed else "dim"), soft_wrap=True)
        if finding.remedy:
            console.print(Text(f"      {finding.remedy}", style="yellow" if finding.failed else "dim"), soft_wrap=True)
    console.print()
    console.print(_summary(found), soft_wrap=True)


def _summary(found: list[Finding]) -> Text:
    counts = Counter(finding.status for finding in found)
    counted = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    off: dict[str, list[str]] = {}
    for finding in found:
        if finding.switch and finding.failed:
            off.setdefault(finding.page, []).append(finding.check)
    if off:
        until = "; ".join(f"Page {page} until {' and '.join(switches)}" for page, switches in off.items())
        return Text(f"No call arrives: {until}. {counted}.", style="red")
    if counts[Status.FAILED]:
        return Text(f"Something has to be done. {counted}.", style="red")
    return Text(f"Nothing is wrong, as far as can be seen from here. {counted}.", style="green")
