"""The commands `pageline message|optin|call-prompt`: messages around calls."""

import sys
from typing import Annotated, Any

import typer

from pageline.command import BAD_USAGE, FAILED, Json, die, print_json
from shared import settings
from shared.errors import MessageFailed
from shared.meta import messages as meta

messages = typer.Typer()

Psid = Annotated[str, typer.Argument(metavar="PSID", help="The consumer's Page-scoped id.")]
Page = Annotated[str, typer.Option("--page", metavar="ID", help="The Page that writes.")]
Days = Annotated[int, typer.Option(help=f"For how long it works, 1 to {meta.MOST_DAYS}.")]


@messages.command()
def message(
    psid: Psid,
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    *,
    page: Page,
    button: Annotated[str, typer.Option(help="The name of a button below that calls the Page.")] = "",
    title: Annotated[str, typer.Option(help="A title above, together with a button.")] = "",
    days: Days = meta.MOST_DAYS,
    as_json: Json = False,
) -> None:
    """Write to a consumer, with a button that calls the Page if you like."""
    try:
        written = meta.composed(text, title=title, call_button=button, days=days)
    except ValueError as error:
        die(f"{error}.", BAD_USAGE)
    _send(page, psid, written, as_json)


@messages.command()
def optin(psid: Psid, *, page: Page, as_json: Json = False) -> None:
    """Ask a consumer whether the Page may call; Meta allows that twice a day."""
    _send(page, psid, meta.optin(), as_json)


@messages.command("call-prompt")
def call_prompt(psid: Psid, *, page: Page, ttl_days: Days = meta.MOST_DAYS, as_json: Json = False) -> None:
    """Send Meta's invitation to call the Page."""
    try:
        prompt = meta.call_prompt(ttl_days)
    except ValueError as error:
        die(f"{error}.", BAD_USAGE)
    _send(page, psid, prompt, as_json)


def _send(page: str, psid: str, written: meta.Message, as_json: bool) -> None:
    from pageline.story import ask
    from shared.messenger import Messenger

    if not psid.strip():
        die("PSID is empty. It is the consumer's Page-scoped id, as webhooks have it.", BAD_USAGE)
    try:
        message_id = ask(settings.load(), lambda bus: Messenger(bus).send(page, psid, written))
    except MessageFailed as failed:
        if not as_json:
            die(str(failed), FAILED)
        print_json(_told(failed))
        sys.exit(FAILED)
    if as_json:
        print_json({"sent": True, "kind": written.kind, "message_id": message_id})
    else:
        print(message_id)  # noqa: T201 it is what was asked for


def _told(failed: MessageFailed) -> dict[str, Any]:
    return {
        "sent": None if failed.ambiguous else False,
        "cause": failed.cause,
        "message": str(failed),
        "code": failed.code,
        "subcode": failed.subcode,
        "fbtrace_id": failed.fbtrace_id,
        "remedy": failed.remedy or None,
    }
