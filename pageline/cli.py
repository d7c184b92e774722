"""The command `pageline`: the composition root. Imports late, so that `--help` is instant."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pageline.agents import agents
from pageline.benches import benches
from pageline.command import BAD_USAGE, FAILED, Json, die, print_json
from pageline.keys import keys
from pageline.letters import letters
from pageline.messages import messages
from pageline.pages import call_settings, doctor
from pageline.privacy import forget
from pageline.records import records
from shared import log, secret_files, settings
from shared.errors import BadSetting, HandlerUnusable, PagelineError
from shared.line import RING_S, WEEK_S

app = typer.Typer(
    name="pageline",
    help="Answers and places Messenger calls for a Facebook Page.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(letters, name="dead")
app.add_typer(records, name="records")
app.add_typer(messages)
app.add_typer(agents, name="agents")
app.add_typer(keys, name="keys")
app.add_typer(benches, name="bench")
app.add_typer(call_settings, name="settings")
app.command()(doctor)
app.command()(forget)


def main() -> NoReturn:
    """Run the command; exit status 0 done, 1 failed, 2 bad usage or settings."""
    log.setup("pageline")  # stdout is for what was asked
    try:
        secret_files.bring(os.environ)
        app()
    except (BadSetting, HandlerUnusable) as error:
        die(str(error), BAD_USAGE)
    except PagelineError as error:
        die(str(error), FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


@app.command()
def web(*, as_json: Json = False) -> None:
    """Take Meta's webhooks (the Procfile's `web`)."""
    configured = _start("web")
    from ingress.app import serve

    serve(configured)
    _stopped("web", as_json)


@app.command()
def media(*, as_json: Json = False) -> None:
    """Hold calls: WebRTC, sound and handlers (the Procfile's `media`)."""
    configured = _start("media")
    from workers.media.main import serve

    serve(configured)
    _stopped("media", as_json)


@app.command()
def action(*, as_json: Json = False) -> None:
    """Send actions to the Graph API: an RQ worker (the Procfile's `action`)."""
    configured = _start("action")
    from workers.action.main import serve

    serve(configured)
    _stopped("action", as_json)


@app.command()
def dashboard(*, as_json: Json = False) -> None:
    """Show queues, jobs and workers in rq-dashboard (the Procfile's `dashboard`)."""
    configured = _start("dashboard")
    from pageline.dashboard import serve

    host = configured.host or "127.0.0.1"
    serve(configured.required_redis_url, host, configured.dashboard_port, configured.dashboard_password or None)
    _stopped("dashboard", as_json)


@app.command()
def up(*, as_json: Json = False) -> None:
    """Run all processes on this machine until one Ctrl-C; without REDIS_URL with an embedded Valkey."""
    from pageline.local import run_everything

    configured = _start("up")
    status = run_everything(configured)
    if as_json:
        print_json({"process": "up", "status": status})
    if status:
        sys.exit(status)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def sim(context: typer.Context) -> None:
    """Stand in for Meta: Graph, signed webhooks and a phone to call from (`pageline sim --help`)."""
    from simulator.server import main as simulate

    plays = any(argument.startswith("--scenario") for argument in context.args)
    status = simulate([argument for argument in context.args if plays or argument != "--json"])
    if "--json" in context.args and not plays:  # a scenario has a report of its own
        print_json({"process": "sim", "status": status})
    sys.exit(status)


@app.command()
def calls(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the latest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the latest calls."""
    from pageline import story

    stories = story.latest(settings.load(), limit=limit)
    if as_json:
        print_json([each.summary() for each in stories])
    else:
        story.print_list(stories)


@app.command()
def call(
    call_id: Annotated[str, typer.Argument(metavar="ID", help="The call's id, Meta's or ours.")],
    *,
    export: Annotated[
        bool, typer.Option("--export", help="Print the call's webhooks as a replay file, scrubbed.")
    ] = False,
    why: Annotated[bool, typer.Option("--why", help="Say what probably went wrong, and what can be done.")] = False,
    quality: Annotated[bool, typer.Option("--quality", help="Show how the call sounded, every few seconds.")] = False,
    as_json: Json = False,
) -> None:
    """Tell the story of one call from its log; with --json all of it, samples included."""
    from pageline import story

    told = story.of(settings.load(), call_id)
    if told is None:
        die(
            f"There is no call {call_id} in the log; logs are kept for RETENTION_HOURS. `pageline calls` lists "
            "them; `pageline doctor` says why calls of a Page never arrive.",
            FAILED,
        )
    if export and as_json:
        print_json(story.replay_lines(told))
    elif export:
        for line in story.replay_lines(told):
            print(json.dumps(line))  # noqa: T201 the file itself
    elif as_json:
        print_json(told.full())
    elif why:
        story.print_why(told)
    elif quality:
        story.print_quality(told)
    else:
        story.print_one(told)


@app.command()
def dial(
    psid: Annotated[str, typer.Argument(metavar="PSID", help="The consumer's id for the Page.")],
    *,
    page: Annotated[str, typer.Option(help="The Page that calls.")],
    handler: Annotated[str, typer.Option(help="module:function; without, the Page's own.")] = "",
    ask_permission: Annotated[
        bool, typer.Option("--ask-permission", help="Ask the consumer, where we may not call.")
    ] = False,
    within_s: Annotated[
        float | None,
        typer.Option(min=1, max=WEEK_S, help="Do not ring later than this, s; a minute, or a day where asked."),
    ] = None,
    ring_s: Annotated[float, typer.Option(min=1, max=300, help="Give up when nobody has picked up, s.")] = RING_S,
    key: Annotated[str, typer.Option(help="The same key within a day is the same call.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the call until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Place a call; with --wait exit 1 unless it came to a conversation."""
    from pageline import dialling

    wish = dialling.Wish(page, psid, handler, ask_permission, within_s, ring_s, key)
    told = dialling.dial(settings.load(), wish, wait=wait, quiet=as_json)
    if as_json:
        print_json(told)
    if wait and told["outcome"] != "completed":
        sys.exit(FAILED)


@app.command()
def hangup(
    call_id: Annotated[str, typer.Argument(metavar="ID", help="The call's id.")], *, as_json: Json = False
) -> None:
    """End a call, ringing or live; one that has ended already is as good."""
    from pageline import dialling

    told = dialling.hang_up(settings.load(), call_id)
    if told is None:
        die(f"There is no call {call_id} in the log. `pageline calls` lists them.", FAILED)
    if as_json:
        print_json(told)
    else:
        dialling.say_how_it_ends(told)


@app.command()
def replay(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Recorded bodies: .jsonl, or one body as .json.")
    ],
    *,
    to: Annotated[str, typer.Option(help="The webhook to post to.")] = "http://127.0.0.1:8000/webhook",
    speed: Annotated[float, typer.Option(min=0, help="1: as recorded; 10: ten times faster; 0: at once.")] = 1.0,
    as_recorded: Annotated[bool, typer.Option("--as-recorded", help="Keep recorded times and ids.")] = False,
    as_json: Json = False,
) -> None:
    """Sign and post recorded webhook bodies; times become now and ids new, so that a replay is live."""
    from pageline.replay import run

    report = run(files, to=to, speed=speed, as_recorded=as_recorded, secret=settings.load().app_secrets[0])
    if as_json:
        print_json(report)
    if report["refused"]:
        sys.exit(FAILED)


@app.command()
def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="Make one call, report, and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Start everything with a simulated Meta, and call: hear pageline answer."""
    from pageline.demo import run

    status, report = run(once=once, quiet=as_json)
    if as_json:
        print_json(report)
    if status:
        sys.exit(status)


def _start(process: str) -> settings.Settings:
    configured = settings.load()
    log.setup(process, format_=configured.log_format)
    return configured


def _stopped(process: str, as_json: bool) -> None:
    if as_json:
        print_json({"process": process, "status": 0})
