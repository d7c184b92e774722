"""The commands `pageline agents add|list|remove|password`."""

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from pageline.command import Json, print_json
from shared import settings
from shared.desk.accounts import Account, Accounts, new_password

if TYPE_CHECKING:
    from shared.bus import Bus

T = TypeVar("T")

agents = typer.Typer(no_args_is_help=True, help="Agents: who takes calls at the desk.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the agent logs in with, and colleagues see.")]
Queues = Annotated[list[str] | None, typer.Option(help="A queue whose calls the agent takes; may be repeated.")]
FromStdin = Annotated[
    bool, typer.Option("--stdin", help="Read the password from standard input; otherwise one is made and printed once.")
]


@agents.command()
def add(
    name: Name,
    *,
    queue: Annotated[
        list[str] | None, typer.Option(help="A queue whose calls the agent takes; may be repeated.")
    ] = None,
    supervisor: Annotated[bool, typer.Option("--supervisor", help="Sees all queues, and may listen in.")] = False,
    stdin: FromStdin = False,
    as_json: Json = False,
) -> None:
    """Make an agent."""
    password = _password(stdin)
    queues = tuple(dict.fromkeys(queue or ["default"]))
    made = _ask(lambda accounts: accounts.add(name, password, queues=queues, supervisor=supervisor))
    if as_json:
        print_json(_shown(made) | ({} if stdin else {"password": password}))
        return
    _say(f"Made {_described(made)}.")
    _say_password(password, stdin)


@agents.command("list")
def list_agents(*, as_json: Json = False) -> None:
    """List the agents."""
    known = _ask(lambda accounts: accounts.all())
    if as_json:
        print_json([_shown(each) for each in known])
        return
    for each in known:
        _say(_described(each))
    if not known:
        _say("There is no agent yet. `pageline agents add NAME` makes one.")


@agents.command()
def remove(name: Name, *, as_json: Json = False) -> None:
    """Remove an agent, who is logged out with that."""
    _ask(lambda accounts: accounts.remove(name))
    if as_json:
        print_json({"name": name, "removed": True})
    else:
        _say(f"Removed {name}.")


@agents.command()
def password(name: Name, *, stdin: FromStdin = False, as_json: Json = False) -> None:
    """Give an agent another password, who is logged out with that."""
    chosen = _password(stdin)
    _ask(lambda accounts: accounts.set_password(name, chosen))
    if as_json:
        print_json({"name": name} | ({} if stdin else {"password": chosen}))
        return
    _say(f"{name} has another password.")
    _say_password(chosen, stdin)


def _password(stdin: bool) -> str:
    return sys.stdin.readline().rstrip("\r\n") if stdin else new_password()


def _ask(question: Callable[[Accounts], Awaitable[T]]) -> T:
    from pageline.story import ask

    async def answer(bus: "Bus") -> T:
        return await question(Accounts(bus.wire))

    return ask(settings.load(), answer)


def _shown(account: Account) -> dict[str, Any]:
    return {"name": account.name, "queues": list(account.queues), "supervisor": account.supervisor}


def _described(account: Account) -> str:
    role = "supervisor" if account.supervisor else "agent"
    return f"{account.name}, {role}, queues: {', '.join(account.queues)}"


def _say_password(password: str, stdin: bool) -> None:
    if not stdin:
        _say(f"Password: {password}")
        _say("It is shown this once. The agent logs in at /desk.")


def _say(line: str) -> None:
    print(line)  # noqa: T201 what was asked for
