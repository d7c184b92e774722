"""The commands `pageline doctor` and `pageline settings show|diff|apply`."""

import sys
from typing import Annotated

import typer

from pageline.command import FAILED, Json, print_json
from shared import settings

call_settings = typer.Typer(
    no_args_is_help=True, help="The Pages' call settings at Meta: what they are, and what PAGES_FILE wants them to be."
)

OnePage = Annotated[str, typer.Option("--page", metavar="ID", help="Only this Page.")]


@call_settings.command("show")
def show(*, page: OnePage = "", as_json: Json = False) -> None:
    """Show the call settings at Meta beside those of PAGES_FILE."""
    from pageline import call_settings as at_meta

    stands = at_meta.look(settings.load(), page)
    if as_json:
        print_json([each.shown() for each in stands])
    else:
        at_meta.print_stands(stands)
    _fail_if(any(each.error for each in stands))


@call_settings.command("diff")
def diff(*, page: OnePage = "", as_json: Json = False) -> None:
    """Show what differs from PAGES_FILE; exit status 1 if anything does or could not be read, 0 if nothing does."""
    from pageline import call_settings as at_meta

    stands = at_meta.look(settings.load(), page)
    if as_json:
        print_json([each.compared() for each in stands])
    else:
        at_meta.print_changes(stands)
    _fail_if(any(each.error or each.changes for each in stands))


@call_settings.command("apply")
def apply(
    *,
    page: OnePage = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be changed, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make the call settings at Meta those of PAGES_FILE; exit status 1 if anything failed."""
    from pageline import call_settings as at_meta

    configured = settings.load()
    stands = at_meta.look(configured, page) if dry_run else at_meta.apply(configured, page)
    if as_json:
        print_json([each.compared() for each in stands])
    else:
        at_meta.print_changes(stands)
    _fail_if(any(each.error or any(done.trouble for done in each.done) for each in stands))


def doctor(
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Repair at Meta: subscription, ring target, audio.")] = False,
    page: OnePage = "",
    as_json: Json = False,
) -> None:
    """Check what stands between a Page and its first call, and say what to do; exit status 1 if a check failed."""
    from pageline.doctor import report

    found = report.examine(fix=fix, page=page)
    if as_json:
        print_json(report.told(found))
    else:
        report.print_report(found)
    _fail_if(any(finding.failed for finding in found))


def _fail_if(failed: bool) -> None:
    if failed:
        sys.exit(FAILED)
