"""The command `pageline forget`."""

import re
import sys
from typing import Annotated, Final

import typer

from pageline.command import BAD_USAGE, FAILED, Json, die, print_json
from shared import settings

PSID: Final = re.compile(r"[0-9]{4,32}")


def forget(
    psid: Annotated[str, typer.Argument(metavar="PSID", help="The consumer's Page-scoped id.")],
    *,
    as_json: Json = False,
) -> None:
    """Remove a consumer everywhere, and look whether anything is left; exit 1 if so. For good: there is no way back."""
    from pageline import forgetting

    if not PSID.fullmatch(psid):
        die("A PSID is a number of 4 digits or more, as webhooks have it.", BAD_USAGE)
    report = forgetting.forget(settings.load(), psid)
    if as_json:
        print_json({**report._asdict(), "done": report.done})
    else:
        forgetting.print_report(report)
    if not report.done:
        sys.exit(FAILED)
